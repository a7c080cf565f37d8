"""A home for models, a tiny body, and a run whose teacher and students are trained."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny import tiny_model
from toy_run import QUIET, config_of, write_data

from codlocal.core.run import RunFolder
from codlocal.distillation.finetune import run_teacher
from codlocal.distillation.stage import run_distill
from codlocal.models.devices import limit_threads
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
    limit_threads(run.config.runtime.threads)  # as commands do: sums depend on it
    write_data(run)
    run_teacher(run, QUIET)
    run_distill(run, load_teacher(run), QUIET)
    return run


@pytest.fixture(scope="module")
def toys(tmp_path_factory) -> Path:
    """A folder with `mine.csv` of 40 texts, a tiny encoder and a tiny generator."""
    folder = tmp_path_factory.mktemp("toys")
    subjects = (
        "the food",
        "the service",
        "the place",
        "food and service",
        "the place and the food",
    )
    rows = [
        f"{subject} {verb} {word} {at},{verdict}\n"
        for verdict, words in (("up", ("good", "great")), ("down", ("bad", "awful")))
        for word in words
        for verb in ("was", "is")
        for at, subject in enumerate(subjects)
    ]
    folder.joinpath("mine.csv").write_text("body,verdict\n" + "".join(rows))
    tiny_model(folder / "encoder", layers=2)
    tiny_model(folder / "generator", "llama", causal=True)
    return folder
