"""GGUF files turned into model folders that transformers and vLLM both load."""

from pathlib import Path

from codlocal.core.errors import ModelError
from codlocal.models.quiet import no_bars, silence_libraries


def convert(gguf: Path, folder: Path, dtype: str) -> None:
    """Dequantize a causal language model to safetensors, and save it with its tokenizer.

    `dtype` is "float32" or "bfloat16".

    Raises:
        ModelError: transformers can't read the file.

    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    silence_libraries()
    try:
        with no_bars():
            model = AutoModelForCausalLM.from_pretrained(
                gguf.parent, gguf_file=gguf.name, dtype=getattr(torch, dtype)
            )
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    except (OSError, ValueError, KeyError, NotImplementedError) as error:
        raise ModelError(
            f"{gguf.name} can't be converted: {error}",
            "Update transformers and gguf, or choose another model.",
        ) from error
    _forget_quantization(model)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _forget_quantization(model: object) -> None:
    # The loaded weights are plain numbers; left in place, these marks would make both
    # save_pretrained and a later from_pretrained look for GGUF tensors.
    config = getattr(model, "config", None)
    for owner, name in (
        (config, "quantization_config"),
        (model, "hf_quantizer"),
        (model, "is_quantized"),
        (model, "quantization_method"),
    ):
        if hasattr(owner, name):
            delattr(owner, name)
