"""Model folders to transformers' objects: safe options, every weight read, named errors."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from codlocal.core.errors import ModelError
from codlocal.models.configuration import CLASSIFIER, named_errors
from codlocal.models.encoding import TextEncoder
from codlocal.models.quantization import keep_exact
from codlocal.models.quiet import silence_libraries

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_SHOWN = 3
"""Missing weights that an error names."""
_PROBES = ("good", "not bad at all, and longer")
_ROUNDING, _COARSE_ROUNDING = 1e-3, 1e-1
"""By how much of itself a logit may change with padding, in float32 and in coarser formats."""


def place(model: torch.nn.Module, device: torch.device) -> None:
    """Move a model to a device and switch its dropout off."""
    model.to(device)
    model.eval()


def load_model(path: Path, *, whole: bool = True, **options: object) -> "PreTrainedModel":
    """`AutoModelForSequenceClassification.from_pretrained` with safe options and named errors.

    The folder has every weight, but for those of a head and a pooler if it need not be `whole`:
    transformers would draw the others at random, anew each time.

    Raises:
        ModelError: the folder can't be loaded as a sequence classifier, or lacks weights.

    """
    from transformers import AutoModelForSequenceClassification

    silence_libraries()
    with named_errors(path, *CLASSIFIER):
        model: PreTrainedModel
        model, found = AutoModelForSequenceClassification.from_pretrained(
            path,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
            **options,
        )
    missing = sorted(found["missing_keys"])
    if whole:
        _refuse_missing(
            f"{path} lacks weights of its classifier",
            missing,
            "Save the whole classifier again. A body without a head says so in its config.json "
            "(architectures), and is fine-tuned.",
        )
    others = {name for name, *_ in found["mismatched_keys"]}
    _refuse_missing(
        f"{path} lacks weights of its body, or has them in another size than its config.json says",
        _of_body(model, sorted({*missing, *others})),
        "Save it again with save_pretrained: what wraps a model, as torch.compile and data "
        "parallelism do, gives its weights other names.",
    )
    if getattr(model, "is_loaded_in_4bit", False):
        keep_exact(model)
    return model


def _of_body(model: "PreTrainedModel", names: Iterable[str]) -> list[str]:
    """Those of a model's weights that no pretraining goes without."""
    body = f"{model.base_model_prefix}."
    return [name for name in names if name.startswith(body) and ".pooler." not in name]


def _refuse_missing(what: str, names: list[str], hint: str) -> None:
    if names:
        more = ", ..." if len(names) > _SHOWN else ""
        raise ModelError(f"{what}: {', '.join(names[:_SHOWN])}{more}.", hint)


def load_encoder(path: Path, model: "PreTrainedModel", max_length: int) -> TextEncoder:
    """Load a model's tokenizer, and have both agree on the id that pads: the model's, if any.

    Decoders find a text's last token by the pad id; many of them come without one.

    Raises:
        ModelError: the tokenizer can't be loaded, or the model reads padding.

    """
    with named_errors(path, *CLASSIFIER):
        encoder = TextEncoder.load(path, model.config, max_length)
        if model.config.pad_token_id is None or model.config.pad_token_id < 0:
            model.config.pad_token_id = encoder.pad_id
        encoder.pad_with(int(model.config.pad_token_id))
        _refuse_reader_of_padding(path, model, encoder)
    return encoder


def _refuse_reader_of_padding(path: Path, model: "PreTrainedModel", encoder: TextEncoder) -> None:
    """Refuse a model that says something else of a text beside a longer one.

    XLNet's head reads the last place of a batch; convolutions over tokens, Fourier mixing and
    landmarks of attention take padding in as well.
    """
    short, long = encoder.encode(_PROBES)
    model.train(mode=False)
    with torch.no_grad():
        alone, beside = (
            model(**encoder.collate(rows, model.device)).logits[0].float()
            for rows in ([short], [short, long])
        )
    exact = model.dtype == torch.float32 and not getattr(model, "is_loaded_in_4bit", False)
    allowed = (_ROUNDING if exact else _COARSE_ROUNDING) * (1 + alone.abs())
    if ((alone - beside).abs() > allowed).any():
        raise ModelError(
            f"{path} is a {model.config.model_type} model, which reads padding: what it says of a "
            "text depends on the texts beside it.",
            "Choose a model of another family.",
        )
