"""What the end-to-end tests share: the real engine, the packaged generator, tiny classifiers."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tiny import tiny_model

from codlocal.core.errors import EngineError
from codlocal.pipeline.engines import find_engine


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def generator() -> tuple[str, ...]:
    """Options for the smallest packaged generator on a real vLLM server on the CPU."""
    try:
        python = find_engine(os.environ.get("CODLOCAL_ENGINE_PYTHON"))
    except EngineError as error:
        pytest.skip(f"{error.message} {error.hint}")
    return (
        "--generator", "smollm2-135m",
        "--engine-python", str(python),
        "--set", "generator.prompting=chat",
        "--device", "cpu",
        "--set", "runtime.dtype=float32",
        "--set", "runtime.max_model_len=1024",
    )  # fmt: skip


@pytest.fixture(scope="session")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny classifier whose random weights tell some texts from others."""
    return tiny_model(tmp_path_factory.mktemp("classifier"), labels=("negative", "positive"))


@pytest.fixture
def codlocal(tmp_path: Path) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Starts the command line as a user would, in an empty folder; ends what a test leaves."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-m", "codlocal", *arguments],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.terminate()
        process.communicate()
