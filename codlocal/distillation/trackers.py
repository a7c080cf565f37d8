"""Curves of a training in TensorBoard, Weights & Biases or MLflow, through accelerate's trackers.

They lie beside the folder that is trained into, in one place for all students of a run. The
training log has the same numbers, whatever tracker there is.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from codlocal.core.errors import ConfigError
from codlocal.core.foreign import first_line
from codlocal.core.sections import RuntimeConfig

_PROJECT = "codlocal"
_FAILURES = {
    "wandb": ("wandb.errors", "Error", "Log in with `wandb login`."),
    "mlflow": ("mlflow.exceptions", "MlflowException", "Is the server of $MLFLOW_TRACKING_URI up?"),
}
"""By tracker the module and the name of its errors, and what may help."""


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

    Raises:
        ConfigError: the tracker can't be used.

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
    facts = {**facts, "curve": curve.id}
    with _failures_told(runtime.tracker):
        if runtime.tracker == "mlflow" and curve.begin:
            options["run_id"] = _mlflow_run(curve)
        accelerator.init_trackers(project, facts, {runtime.tracker: options})
        try:
            yield
        finally:
            accelerator.end_training()


@contextmanager
def _failures_told(tracker: str) -> Iterator[None]:
    """Make an error of ours of a tracker's, which is not logged in or has lost its server."""
    try:
        yield
    except _errors_of(tracker) as error:
        *_, hint = _FAILURES[tracker]
        raise ConfigError(
            f"The tracker {tracker} can't be used: {first_line(error)}",
            f"{hint} With --offline its curves stay on this machine, --tracker none draws none. "
            "Run the same command again to go on.",
        ) from error


def _errors_of(tracker: str) -> tuple[type[Exception], ...]:
    """What the package of a tracker raises, if it is loaded."""
    module, name, _ = _FAILURES.get(tracker, ("", "", ""))
    kind = getattr(sys.modules.get(module), name, None)
    return () if kind is None else (kind,)


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
