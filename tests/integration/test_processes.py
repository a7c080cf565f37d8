"""Several processes at one run: each trains a share of the students."""

from pathlib import Path

import pytest
from launch import launch
from toy_run import copy_run, same, weights

from codlocal.core.run import RunFolder

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("home")]


def test_two_processes_train_the_same_students_as_one(finished: RunFolder, tmp_path: Path):
    run = copy_run(finished, tmp_path / "run")
    for stage in ("data", "generate", "verify"):
        with run.stage(stage):
            pass
    run.file("run.toml").write_text(run.config.to_toml())
    first, second = launch("distill", "--run", str(run.path))
    _, table, progress = first
    assert (first[0], second) == (0, (0, "", "")), (first, second)
    assert "students 4" in table
    assert "Training student-seed0" in progress
    assert "Training baseline-seed0" not in progress
    names = list(finished.facts("distill")["students"])
    assert list(run.facts("distill")["students"]) == names
    assert all(same(weights(run, name), weights(finished, name)) for name in names)
