import os
import shutil
import subprocess
from pathlib import Path

import pytest

SETUP = Path(__file__).parents[2] / "scripts" / "setup"

PYTHON = """#!/bin/sh
echo "$@" >>"$CALLS"
[ "$1 $2" = "-m venv" ] || exit 0
for folder in "$@"; do :; done
mkdir -p "$folder/bin"
cp "$0" "$folder/bin/python"
"""
"""Stands for both interpreters: `python -m venv` makes a folder with a copy of itself."""


@pytest.fixture
def clone(tmp_path):
    scripts = tmp_path / "clone" / "scripts"
    scripts.mkdir(parents=True)
    shutil.copy(SETUP, scripts)
    scripts.joinpath("constraints.txt").touch()
    scripts.with_name("pyproject.toml").touch()
    return scripts.parent


def made_by_setup(clone):
    """What the interpreters were asked for, without the check of their version."""
    write_script(clone / "python", PYTHON)
    calls = clone / "calls"
    calls.write_text("")
    environment = {**os.environ, "PYTHON": str(clone / "python"), "CALLS": str(calls)}
    subprocess.run([clone / "scripts" / "setup"], env=environment, check=True, capture_output=True)
    return [line for line in calls.read_text().splitlines() if not line.startswith("-c")]


def write_script(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


INSTALL = "-m pip install --quiet --constraint scripts/constraints.txt --editable .[dev]"


def test_setup_makes_the_environment_once(clone):
    assert made_by_setup(clone) == ["-m venv --clear .venv", INSTALL]
    assert made_by_setup(clone) == []
    clone.joinpath(".venv", "stamp").unlink()
    assert made_by_setup(clone) == ["-m pip --version", INSTALL]


def test_a_half_made_environment_is_made_anew(clone):
    write_script(clone / ".venv" / "bin" / "python", "#!/bin/sh\nexit 1\n")
    assert made_by_setup(clone) == ["-m venv --clear .venv", INSTALL]
