"""A home for models, a tiny body, and a run whose teacher and students are trained."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny import tiny_model
from toy_run import QUIET, config_of, write_data

from codlocal.core.run import RunFolder
from codlocal.distillation.finetune import run_teacher
from codlocal.distillation.stage import run_distill
from codlocal.models.teacher import load_teacher


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CODLOCAL_HOME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def body(tmp_path_factory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("body"), layers=4)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, home: Path, body: Path) -> RunFolder:
    run = RunFolder(tmp_path_factory.mktemp("run"), config_of(body))
    write_data(run)
    run_teacher(run, QUIET)
    run_distill(run, load_teacher(run), QUIET)
    return run
