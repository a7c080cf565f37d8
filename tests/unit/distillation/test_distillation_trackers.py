"""Where each tracker is told to put its curves. The trackers themselves are optional packages."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from codlocal.core.errors import ConfigError
from codlocal.core.sections import RuntimeConfig
from codlocal.distillation import trackers
from codlocal.distillation.trackers import Curve, curve_of, tracker_options, tracking

FOLDER = Path("/run/students/student-seed0.partial")
PATH = Path("/run/students/student-seed0")
CURVE = Curve(PATH, "an id")


class _Accelerator:
    def __init__(self) -> None:
        self.begun: list[tuple[object, ...]] = []
        self.ended = 0

    def init_trackers(self, *arguments: object) -> None:
        self.begun.append(arguments)

    def end_training(self) -> None:
        self.ended += 1


def _tracked(curve: Curve = CURVE, **settings: object) -> tuple[object, ...]:
    accelerator = _Accelerator()
    runtime = RuntimeConfig.model_validate(settings)
    with (
        pytest.raises(KeyError),
        tracking(accelerator, runtime, curve, {"steps": 3}),
    ):
        raise KeyError
    assert accelerator.ended == len(accelerator.begun) == 1
    return accelerator.begun[0]


def test_without_a_tracker_nothing_is_begun():
    accelerator = _Accelerator()
    with tracking(accelerator, RuntimeConfig(), CURVE, {}):
        pass
    assert accelerator.begun == []
    assert tracker_options(RuntimeConfig(), FOLDER) == {}


def test_the_curve_of_a_phase_lies_beside_that_of_the_last_one():
    assert curve_of(FOLDER, "") == PATH
    assert curve_of(FOLDER, "tuning") == PATH.with_name("student-seed0-tuning")


def test_tensorboard_has_a_folder_for_each_student():
    project, facts, options = _tracked(tracker="tensorboard")
    assert (project, facts) == ("tensorboard/student-seed0", {"steps": 3, "curve": "an id"})
    assert options == {"tensorboard": {"purge_step": 1}}
    made = tracker_options(RuntimeConfig(tracker="tensorboard"), FOLDER)
    assert made == {"log_with": "tensorboard", "project_dir": FOLDER.parent}


@pytest.mark.parametrize("offline", [False, True])
def test_wandb_stays_on_this_machine_if_asked(monkeypatch, offline: bool):
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "true")
    project, _, options = _tracked(tracker="wandb", offline=offline)
    assert project == "codlocal"
    assert options["wandb"].get("mode") == ("offline" if offline else None)
    assert options["wandb"]["dir"] == "/run/students"
    assert os.environ["WANDB_ERROR_REPORTING"] == ("false" if offline else "true")


@pytest.mark.parametrize("offline", [False, True])
def test_mlflow_stays_on_this_machine_if_asked(monkeypatch, offline: bool):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://elsewhere")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "false")
    _, _, options = _tracked(tracker="mlflow", offline=offline)
    place = os.environ["MLFLOW_TRACKING_URI"]
    assert place == ("sqlite:////run/students/mlflow.db" if offline else "https://elsewhere")
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == ("true" if offline else "false")
    assert options["mlflow"]["run_name"] == "student-seed0"


def test_a_training_that_goes_on_does_so_on_its_curve(monkeypatch):
    later, asked = Curve(PATH, "an id", begin=200), []

    def search_runs(**query):
        asked.append(query["filter_string"])
        return [SimpleNamespace(info=SimpleNamespace(run_id="theirs"))] if len(asked) == 1 else []

    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setitem(sys.modules, "mlflow", SimpleNamespace(search_runs=search_runs))
    _, _, options = _tracked(later, tracker="tensorboard")
    assert options["tensorboard"]["purge_step"] == 201
    for curve in (CURVE, later):
        _, _, options = _tracked(curve, tracker="wandb")
        assert (options["wandb"]["id"], options["wandb"]["resume"]) == ("an id", "allow")
    assert "run_id" not in _tracked(tracker="mlflow")[2]["mlflow"]
    assert _tracked(later, tracker="mlflow")[2]["mlflow"]["run_id"] == "theirs"
    assert _tracked(later, tracker="mlflow")[2]["mlflow"]["run_id"] is None
    assert asked == ["params.curve = 'an id'"] * 2


@pytest.mark.parametrize("tracker", ["wandb", "mlflow"])
def test_what_a_tracker_fails_of_is_said_and_other_errors_are_not_its_own(monkeypatch, tracker):
    class LibraryError(Exception):
        pass

    module, name, _ = trackers._FAILURES[tracker]
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setitem(sys.modules, module, SimpleNamespace(**{name: LibraryError}))
    runtime = RuntimeConfig.model_validate({"tracker": tracker})
    for raised, expected in (
        (LibraryError("No key.\nmore"), ConfigError),
        (KeyError("x"), KeyError),
    ):
        with (
            pytest.raises(expected) as caught,
            tracking(_Accelerator(), runtime, CURVE, {}),
        ):
            raise raised
        if expected is ConfigError:
            assert caught.value.message == f"The tracker {tracker} can't be used: No key."
            assert "--offline" in caught.value.hint
