"""Tensor files that know what they were computed from, so that they are never computed twice."""

from collections.abc import Mapping
from pathlib import Path

import torch

from codlocal.models.folders import build_folder


def is_of(path: Path, key: str) -> bool:
    """Whether the file is there, can be read, and was stored under `key`."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return False
    try:
        with safe_open(path, "pt") as file:
            return bool((file.metadata() or {}).get("key") == key)
    except SafetensorError:
        return False


def store(path: Path, key: str, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write tensors as a safetensors file, alone in its folder, in one step."""
    from safetensors.torch import save_file

    found = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    build_folder(path.parent, lambda partial: save_file(found, partial / path.name, {"key": key}))
