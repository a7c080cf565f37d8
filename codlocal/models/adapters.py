"""Training in 4 bits: adapters on a quantised body (QLoRA), and the 4-bit student they end in."""

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from codlocal.core.records import Row
from codlocal.models.classifier import Classifier
from codlocal.models.loading import load_model, place
from codlocal.models.quantization import linears_in_4_bits, nf4_options

ADAPTER_RATE = 10
"""The learning rate of adapters as a multiple of that of full training (Schulman et al., LoRA
Without Regret, 2025)."""

_RANK = 16
_ALPHA = 32
_FULL = "unquantised"


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
        folder: keeps the weights in full precision, until `save_in_4_bits`.
        compute: the format in which 4-bit weights are multiplied.
        seed: draws the adapters.

    """
    from peft import LoraConfig, inject_adapter_in_model

    device, full = student.device, folder / _FULL
    shutil.rmtree(full, ignore_errors=True)
    student.save(full)
    model = load_model(full, dtype=torch.float32, **nf4_options(full, device, compute))
    model.config.pad_token_id = student.model.config.pad_token_id
    model.requires_grad_(False)
    targets = linears_in_4_bits(model)
    for layer in targets.values():
        layer.register_forward_hook(_as_under_autocast)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        settings = LoraConfig(r=_RANK, lora_alpha=_ALPHA, target_modules=list(targets))
        inject_adapter_in_model(settings, model)
    for part in model.modules():  # all but the adapters is frozen by now
        if type(part) is torch.nn.Linear:
            part.requires_grad_(True)
    place(model, device)
    student.model = model


def _as_under_autocast(
    _layer: torch.nn.Module, _given: tuple[torch.Tensor, ...], output: torch.Tensor
) -> torch.Tensor:
    """Answer in autocast's format, as linear layers in full precision do and DeBERTa relies on."""
    kind = output.device.type
    return output.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else output


def save_in_4_bits(student: Classifier, folder: Path, texts: Sequence[str]) -> QuantizationLoss:
    """Save a student of `train_in_4_bits` in 4 bits, load it again, and say what that changed.

    The adapters are merged into the weights that were there before they were quantised. Quantised
    weights lie on a grid, and rounding what is added to them would take most of it away again.
    """
    before = student.logits(texts)
    full = folder / _FULL
    merged = load_model(full, dtype=torch.float32)
    _merge(student.model, merged)
    merged.save_pretrained(full)
    load = partial(
        Classifier.load,
        device=student.device.type,
        dtype="float32",
        max_length=student.encoder.max_length,
        label_names=student.label_names,
    )
    load(full, quantization="nf4").save(folder)
    shutil.rmtree(full)
    after = load(folder).logits(texts)
    return QuantizationLoss(
        texts=len(texts),
        agreement=float((before.argmax(axis=1) == after.argmax(axis=1)).mean()),
        max_difference=float(np.abs(before - after).max()),
        bytes=sum(file.stat().st_size for file in folder.glob("*.safetensors")),
    )


def _merge(trained: torch.nn.Module, into: torch.nn.Module) -> None:
    from peft.tuners.lora import LoraLayer
    from transformers.pytorch_utils import Conv1D

    with torch.no_grad():
        for name, parameter in trained.named_parameters():
            if parameter.requires_grad and ".lora_" not in name:
                into.get_parameter(name).copy_(parameter)
        for name, part in trained.named_modules():
            if isinstance(part, LoraLayer):
                change = part.get_delta_weight(part.active_adapters[0]).cpu()  # type: ignore[attr-defined]
                target = into.get_submodule(name)
                # Those of GPT-2 are the other way round, until they are in 4 bits.
                target.weight.add_(change.T if isinstance(target, Conv1D) else change)  # type: ignore[operator]
