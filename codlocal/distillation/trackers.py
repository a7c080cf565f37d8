"""Curves of a training in TensorBoard, Weights & Biases or MLflow, through accelerate's trackers.

They lie beside the folder that is trained into, in one place for all students of a run. The
training log has the same numbers, whatever tracker there is.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from codlocal.core.sections import RuntimeConfig

_PROJECT = "codlocal"


def curve_of(folder: Path, phase: str) -> Path:
    """The curve of a training: its name, in the place where it is kept.

    Args:
        folder: what is trained.
        phase: an earlier phase of that training, or "" for the last one.

    """
    name = folder.name.removesuffix(".partial")
    return folder.with_name(f"{name}-{phase}" if phase else name)


@contextmanager
def tracking(
    accelerator: Accelerator, runtime: RuntimeConfig, curve: Path, facts: dict[str, Any]
) -> Iterator[None]:
    """Let `accelerator.log` reach the configured tracker while the block runs.

    Args:
        accelerator: made with `log_with` and `project_dir` of `tracker_options`.
        runtime: names the tracker, and says whether it may use the network.
        curve: as `curve_of` names it.
        facts: plain values to be shown with it.

    """
    if runtime.tracker == "none":
        yield
        return
    name, place = curve.name, curve.parent
    project, options = _PROJECT, {}
    if runtime.tracker == "tensorboard":
        project = f"tensorboard/{name}"
    elif runtime.tracker == "wandb":
        os.environ.setdefault("WANDB_SILENT", "true")
        options = {"name": name, "dir": str(place)}
        if runtime.offline:
            options["mode"] = "offline"
            os.environ["WANDB_ERROR_REPORTING"] = "false"
    elif runtime.tracker == "mlflow":
        options = {"run_name": name}
        if runtime.offline:
            os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
            os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{place.absolute()}/mlflow.db"
            options["logging_dir"] = str(place.absolute() / "mlflow")
    accelerator.init_trackers(project, facts, {runtime.tracker: options})
    try:
        yield
    finally:
        accelerator.end_training()


def tracker_options(runtime: RuntimeConfig, folder: Path) -> dict[str, Any]:
    """What `Accelerator` is to be made with."""
    if runtime.tracker == "none":
        return {}
    return {"log_with": runtime.tracker, "project_dir": folder.parent}
