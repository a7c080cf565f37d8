"""Models in 4 bits: the linear layers of the body in NF4, all else as it was.

NF4 with double quantization as in QLoRA (Dettmers et al., NeurIPS 2023, arXiv 2305.14314), by
bitsandbytes. The classification head stays in full precision: it is small, and it decides.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from codlocal.models.configuration import read_configuration

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def nf4_options(path: Path, device: torch.device, compute: torch.dtype) -> dict[str, Any]:
    """What `from_pretrained` is told so that it loads a classifier in 4 bits.

    Args:
        path: the model's folder, in full precision.
        device: where the model is to be; weights are quantised there.
        compute: the format in which 4-bit weights are multiplied.

    """
    from transformers import AutoModelForSequenceClassification, BitsAndBytesConfig

    config = read_configuration(path)
    with torch.device("meta"):
        make = AutoModelForSequenceClassification.from_config
        skeleton = make(config)  # type: ignore[no-untyped-call]
    settings = BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute,
        # Where a pooler is part of the body (BERT), it serves the head all the same.
        llm_int8_skip_modules=[*head_names(skeleton), ".*pooler"],
    )
    return {"quantization_config": settings, "device_map": {"": device}}


def head_names(model: "PreTrainedModel") -> list[str]:
    """The names of a classifier's parts outside its body: its classification head."""
    return [
        name
        for name, part in model.named_children()
        if name != model.base_model_prefix and any(True for _ in part.parameters())
    ]


def linears_in_4_bits(model: torch.nn.Module) -> dict[str, torch.nn.Module]:
    """The layers of a model whose weights are in 4 bits, by name."""
    from bitsandbytes.nn.modules import Linear4bit

    return {name: part for name, part in model.named_modules() if isinstance(part, Linear4bit)}


def keep_exact(model: torch.nn.Module) -> None:
    """Have 4-bit layers compute the same on every CPU.

    On CPUs with AVX512-BF16, bitsandbytes would repack the weights at the first inference: in
    place, with their scales rounded to bfloat16, and for widths that are multiples of 64 only.
    """
    for layer in linears_in_4_bits(model).values():
        layer.support_avx512bf16_for_cpu = False  # type: ignore[assignment]
