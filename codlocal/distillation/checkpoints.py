"""Training state on disk without pickle: weights, AdamW's moments, and the step they belong to.

Weights that don't train are a function of the settings and are not kept: of a 4-bit student, only
its adapters and its head are.
"""

import json
import shutil
import warnings
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from codlocal.core import jsonl
from codlocal.models.folders import sync_files

_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


def save_checkpoint(
    folder: Path,
    step: int,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    key: str,
    curve: str = "",
) -> None:
    """Write the state after `step` steps as a new folder, then drop the older ones.

    `key` says which training it belongs to; another training does not resume from it. `curve` is
    the id under which a tracker knows it.
    """
    partial = folder / "checkpoint.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    save_file(_weights(model), partial / "model.safetensors")
    save_file(_moments(model, optimizer), partial / "optimizer.safetensors")
    state = {"step": step, "key": key, "weights": _count(model), "curve": curve}
    jsonl.write_json(partial / "state.json", state)
    sync_files(partial)
    finished = _checkpoint(folder, step)
    shutil.rmtree(finished, ignore_errors=True)
    partial.replace(finished)
    for older in _checkpoints(folder):
        if older != finished:
            shutil.rmtree(older)


def load_checkpoint(
    folder: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer, key: str
) -> tuple[int, str]:
    """Restore the newest state of this training.

    Returns its step and curve, or 0 and "" if there is none. A state that can't be read is passed
    over with a warning.
    """
    for checkpoint in reversed(_checkpoints(folder)):
        try:
            state = json.loads(checkpoint.joinpath("state.json").read_bytes())
            if (state["key"], state["weights"]) != (key, _count(model)):
                continue
            step, curve = int(state["step"]), str(state["curve"])
            weights = load_file(checkpoint / "model.safetensors")
            moments = load_file(checkpoint / "optimizer.safetensors")
        except (
            OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError,
            SafetensorError,
        ) as error:  # fmt: skip
            warnings.warn(f"{checkpoint} can't be read and is passed over: {error}", stacklevel=2)
            continue
        _restore_weights(model, weights)
        _restore_moments(model, optimizer, moments)
        return step, curve
    return 0, ""


def remove_checkpoints(folder: Path) -> None:
    """Drop all states, finished or not, of every phase."""
    for checkpoint in list(folder.rglob("checkpoint*")):
        shutil.rmtree(checkpoint)


def _checkpoint(folder: Path, step: int) -> Path:
    return folder / f"checkpoint-{step:07d}"


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob("checkpoint-*"))


def _count(model: torch.nn.Module) -> int:
    return sum(one.numel() for one in model.parameters() if one.requires_grad)


def _weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {
        name: parameter.detach().contiguous()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


def _restore_weights(model: torch.nn.Module, tensors: dict[str, torch.Tensor]) -> None:
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, tensor in tensors.items():
            parameters[name].copy_(tensor)


def _moments(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    return {
        f"{name}/{moment}": optimizer.state[parameter][moment].contiguous()
        for name, parameter in model.named_parameters()
        if optimizer.state.get(parameter)
        for moment in _MOMENTS
    }


def _restore_moments(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]
) -> None:
    for name, parameter in model.named_parameters():
        if f"{name}/step" in tensors:
            optimizer.state[parameter] = {
                moment: tensors[f"{name}/{moment}"].to(parameter.device) for moment in _MOMENTS
            }
