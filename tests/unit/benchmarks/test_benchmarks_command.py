"""`scripts/bench` itself: what it says before it installs anything, and how a benchmark fails.

Beside it `scripts/demo`, as far as both do the same.
"""

import importlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest
from benchmarks import quality

ROOT = Path(__file__).parents[3]


def bench(*arguments):
    environment = {**os.environ, "PYTHON": "/nowhere/python"}  # to install would fail
    return subprocess.run(
        [ROOT / "scripts/bench", *arguments], capture_output=True, text=True, env=environment
    )


def names():
    listed = bench("--help").stdout.split("bench")[1].split("[")[0]
    return re.findall(r"\w+", listed)


def test_help_lists_the_benchmarks():
    assert bench("--help").returncode == 0
    modules = [f"benchmarks.{path.stem}" for path in (ROOT / "scripts/benchmarks").glob("*.py")]
    assert sorted(names()) == ["distillation", "generation", "quality"]
    assert {f"benchmarks.{name}" for name in names()} <= set(modules)


@pytest.mark.parametrize("arguments", [(), ("nonsense",), ("--nonsense",)])
def test_unknown_benchmarks_are_a_usage_error(arguments):
    done = bench(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert all(name in done.stderr for name in names())


@pytest.mark.parametrize("script", ["bench", "demo"])
def test_paths_are_those_of_the_callers_folder(tmp_path, script):
    clone, place = tmp_path / "a clone", tmp_path / "place"
    for folder in (clone / "scripts", clone / ".venv/bin", place):
        folder.mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / script, clone / "scripts")
    for name in ("scripts/setup", ".venv/bin/codlocal", ".venv/bin/python"):
        clone.joinpath(name).write_text('#!/bin/sh\necho "$PWD: $*"\n')
        clone.joinpath(name).chmod(0o755)
    done = subprocess.run(
        [clone / "scripts" / script, "quality", "--data", "mine.csv"],
        capture_output=True, text=True, cwd=place,
    )  # fmt: skip
    last = done.stdout.splitlines()[-1]
    assert last.startswith(f"{place}: ") and last.endswith(" --data mine.csv"), done.stderr


@pytest.mark.parametrize("name", ["distillation", "generation", "quality"])
def test_a_benchmark_says_what_it_needs(name, call):
    command = importlib.import_module(f"benchmarks.{name}").main
    assert isinstance(command, click.Command)
    assert all(option.help for option in command.params if not option.hidden)
    code, _, err = call(command=command)
    assert code == 2
    assert "Missing option '--data'" in err


def test_sizes_are_numbers(call, tmp_path):
    words = ["--data", str(tmp_path), "--out", str(tmp_path / "out"), "--k", "8,x"]
    code, _, err = call(*words, command=quality.main)
    assert code == 2
    assert "'8,x' is no list of numbers" in " ".join(err.split())


def test_a_mistake_in_a_benchmark_is_an_error_with_a_hint(call, tmp_path):
    words = ["--data", str(tmp_path), "--out", str(tmp_path / "out"), "--arms", "nonsense"]
    code, _, err = call(*words, command=quality.main)
    assert code == 1
    assert "no such arm: nonsense" in " ".join(err.split())
