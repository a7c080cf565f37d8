"""Training in 4 bits: adapters on a quantised body (QLoRA), and the 4-bit student they end in."""

import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from codlocal.core.records import Row
from codlocal.models.classifier import Classifier, load_model, place
from codlocal.models.quantization import head_names, keep_exact, linears_in_4_bits, nf4_options

_RANK = 16
_ALPHA = 32


class QuantizationLoss(Row):
    """What a student lost by being saved in 4 bits, on `texts` texts.

    `agreement` is the share of texts that keep their label, `max_difference` the largest
    difference of a logit, both between the student as it was trained (adapters apart, in full
    precision) and the student as it was reloaded. `bytes` is the size of its weights on disk.
    """

    texts: int
    agreement: float
    max_difference: float
    bytes: int


def train_in_4_bits(student: Classifier, folder: Path, compute: torch.dtype, seed: int) -> None:
    """Quantise a student's body in place, and put adapters on all its linear layers.

    Afterwards the adapters and the head train, and nothing else does. The adapters change
    nothing before they are trained.

    Args:
        student: in full precision.
        folder: where its weights lie for the moment; quantised weights can only be loaded.
        compute: the format in which 4-bit weights are multiplied.
        seed: draws the adapters.

    """
    from peft import LoraConfig, inject_adapter_in_model

    device, place_for_weights = student.device, folder / "unquantised"
    shutil.rmtree(place_for_weights, ignore_errors=True)
    student.save(place_for_weights)
    options = nf4_options(place_for_weights, device, compute)
    model = load_model(place_for_weights, dtype=torch.float32, **options)
    shutil.rmtree(place_for_weights)
    model.config.pad_token_id = student.model.config.pad_token_id
    model.requires_grad_(False)
    targets = list(linears_in_4_bits(model))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        inject_adapter_in_model(
            LoraConfig(r=_RANK, lora_alpha=_ALPHA, target_modules=targets), model
        )
    for name in head_names(model):
        model.get_submodule(name).requires_grad_(True)
    place(model, device)
    student.model = model


def save_in_4_bits(student: Classifier, folder: Path, texts: Sequence[str]) -> QuantizationLoss:
    """Merge a student's adapters, save it in 4 bits, load it again, and say what that changed.

    Merged weights are no longer on the grid of the quantised ones and are rounded to it anew.
    """
    before = student.logits(texts)
    _merge(student.model)
    student.save(folder)
    reloaded = Classifier.load(
        folder,
        device=student.device.type,
        dtype="float32",
        max_length=student.encoder.max_length,
        label_names=student.label_names,
    )
    after = reloaded.logits(texts)
    return QuantizationLoss(
        texts=len(texts),
        agreement=float((before.argmax(axis=1) == after.argmax(axis=1)).mean()),
        max_difference=float(np.abs(before - after).max()),
        bytes=sum(file.stat().st_size for file in folder.glob("*.safetensors")),
    )


def _merge(model: torch.nn.Module) -> None:
    from peft.tuners.tuners_utils import BaseTunerLayer

    adapted = [
        (name, part) for name, part in model.named_modules() if isinstance(part, BaseTunerLayer)
    ]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Merge lora module to 4-bit linear")
        for name, layer in adapted:
            layer.merge()
            model.set_submodule(name, layer.get_base_layer())
    keep_exact(model)
