"""The device and the number format a model runs with."""

import os

import torch

from codlocal.core.errors import DeviceError

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def device_of(name: str) -> torch.device:
    """The torch device for `auto`, `cpu` or `cuda`.

    Raises:
        DeviceError: a GPU is asked for, and there is none.

    """
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise DeviceError(
            "The settings ask for a CUDA GPU, and there is none.", "Use --device cpu."
        )
    return torch.device("cuda")


def limit_threads(threads: int) -> None:
    """Give torch a number of CPU threads; 0 means half of the cores.

    Small models gain little from more, and as soon as another busy process shares the cores,
    threads that wait for each other make every step several times slower.
    """
    torch.set_num_threads(threads or max(1, (os.cpu_count() or 1) // 2))


def training_dtype(name: str, device: torch.device) -> torch.dtype:
    """The number format of a trained model's forward pass; its weights stay in float32.

    float16 would need a loss scale, and DeBERTa overflows in it: where it is asked for, the
    forward pass stays in float32.
    """
    half = dtype_of(name, device) == torch.bfloat16
    return torch.bfloat16 if half else torch.float32


def dtype_of(name: str, device: torch.device) -> torch.dtype:
    """The number format for `auto` or a format's name: bfloat16 on GPUs that have it by default."""
    if name != "auto":
        return _DTYPES[name]
    if device.type == "cuda" and torch.cuda.is_bf16_supported():
        return torch.bfloat16
    return torch.float32
