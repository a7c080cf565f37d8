"""Curves of a training in TensorBoard, Weights & Biases or MLflow, through accelerate's trackers.

They lie beside the folder that is trained into, in one place for all students of a run. The
training log has the same numbers, whatever tracker there is.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from codlocal.core.sections import RuntimeConfig

_PROJECT = "codlocal"


@dataclass(frozen=True)
class Curve:
    """Where a training is drawn.

    Attributes:
        path: its name, in the place where it is kept.
        id: tells this training from others of that name, such as one that was dropped.
        begin: the steps that it has, from a process that was ended.

    """

    path: Path
    id: str
    begin: int = 0


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
    accelerator: Accelerator, runtime: RuntimeConfig, curve: Curve, facts: dict[str, Any]
) -> Iterator[None]:
    """Let `accelerator.log` reach the configured tracker while the block runs.

    A training that goes on does so on its own curve. Steps after its checkpoint may be there twice,
    with the same numbers; TensorBoard shows the later ones.

    Args:
        accelerator: made with `log_with` and `project_dir` of `tracker_options`.
        runtime: names the tracker, and says whether it may use the network.
        curve: with the path that `curve_of` names.
        facts: plain values to be shown with it.

    """
    if runtime.tracker == "none":
        yield
        return
    name, place = curve.path.name, curve.path.parent
    project, options = _PROJECT, dict[str, Any]()
    if runtime.tracker == "tensorboard":
        project = f"tensorboard/{name}"
        options = {"purge_step": curve.begin + 1}
    elif runtime.tracker == "wandb":
        os.environ.setdefault("WANDB_SILENT", "true")
        options = {"name": name, "dir": str(place), "id": curve.id, "resume": "allow"}
        if runtime.offline:
            options["mode"] = "offline"
            os.environ["WANDB_ERROR_REPORTING"] = "false"
    elif runtime.tracker == "mlflow":
        options = {"run_name": name}
        if runtime.offline:
            os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
            os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{place.absolute()}/mlflow.db"
            options["logging_dir"] = str(place.absolute() / "mlflow")
        if curve.begin:
            options["run_id"] = _mlflow_run(curve)
    facts = {**facts, "curve": curve.id}
    accelerator.init_trackers(project, facts, {runtime.tracker: options})
    try:
        yield
    finally:
        accelerator.end_training()


def _mlflow_run(curve: Curve) -> str | None:
    """The run of a training that goes on; MLflow gives ids of its own."""
    import mlflow

    runs = mlflow.search_runs(
        search_all_experiments=True,
        filter_string=f"params.curve = '{curve.id}'",
        max_results=1,
        output_format="list",
    )
    return str(runs[0].info.run_id) if runs else None


def tracker_options(runtime: RuntimeConfig, folder: Path) -> dict[str, Any]:
    """What `Accelerator` is to be made with."""
    if runtime.tracker == "none":
        return {}
    return {"log_with": runtime.tracker, "project_dir": folder.parent}
