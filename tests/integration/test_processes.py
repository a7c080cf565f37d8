"""Several processes at one run: each trains a share of the students."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from toy_run import copy_run, same, weights

from codlocal.core.run import RunFolder

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("home")]


def _free_port() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


def test_two_processes_train_the_same_students_as_one(finished: RunFolder, tmp_path: Path):
    run = copy_run(finished, tmp_path / "run")
    for stage in ("data", "generate", "verify"):
        with run.stage(stage):
            pass
    launched = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": _free_port()}
    command = [sys.executable, "-m", "codlocal", "distill", "--run", str(run.path)]
    run.file("run.toml").write_text(run.config.to_toml())
    processes = [
        subprocess.Popen(
            command,
            env={**os.environ, **launched, "RANK": rank, "LOCAL_RANK": rank},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in "01"
    ]
    (table, progress), (nothing, complaints) = (one.communicate() for one in processes)
    assert [one.returncode for one in processes] == [0, 0], (progress, complaints)
    assert "students 4" in table
    assert "Training student-seed0" in progress
    assert "Training baseline-seed0" not in progress
    assert nothing == complaints == ""
    names = list(finished.facts("distill")["students"])
    assert list(run.facts("distill")["students"]) == names
    assert all(same(weights(run, name), weights(finished, name)) for name in names)
