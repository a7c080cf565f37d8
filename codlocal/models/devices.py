"""The device and the number format a model runs with."""

import gc

import torch

from codlocal.core import machine
from codlocal.core.errors import DeviceError

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

_LEFT_FREE = 3 * 2**30
"""Bytes of a GPU that a server leaves free: the teacher reads candidates beside it."""
_LARGEST_SHARE, _LEAST_SHARE = 0.9, 0.01


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


def gpu_problem() -> str:
    """Why torch can't use the GPU of a driver that is there; nothing if it can."""
    if torch.cuda.is_available():
        return ""
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is a build for CPUs"
    return f"torch {torch.__version__}, made for CUDA {torch.version.cuda}, finds no GPU"


def limit_threads(threads: int) -> None:
    """Give torch a number of CPU threads; 0 means half of those that it may use.

    Small models gain little from more, and as soon as another busy process shares the cores,
    threads that wait for each other make every step several times slower.
    """
    torch.set_num_threads(threads or max(1, machine.cores() // 2))


def free_share() -> float:
    """The share of the GPU's memory that a server may take beside what is there already.

    What torch keeps for later use is given back first: after a training that is most of a GPU.
    Where next to nothing is free the server says so at its start.
    """
    gc.collect()
    torch.cuda.empty_cache()
    free, total = torch.cuda.mem_get_info()
    share = int((free - _LEFT_FREE) / total * 1000) / 1000
    return min(max(share, _LEAST_SHARE), _LARGEST_SHARE)


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
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16
    return torch.float32
