"""Commands on runs that were begun before, or are taken for such."""

import pytest

from codlocal.cli.options import config_of, open_run
from codlocal.core.config import STAGES, Config
from codlocal.core.console import Console
from codlocal.core.errors import RunError
from codlocal.core.run import RunFolder
from codlocal.pipeline import preflight

QUIET = Console(-1)


def finish(given, stage="data"):
    with open_run(given, QUIET) as run, run.stage(stage):
        run.file("data").mkdir(exist_ok=True)


def test_changed_settings_are_refused_and_named(tmp_path):
    given = {"run": tmp_path / "run", "profile": "embedded"}
    finish(given)
    with (
        pytest.raises(RunError, match=r"dataset\.k: 16 -> 8") as caught,
        open_run({**given, "k": 8}, QUIET),
    ):
        pass
    assert "--redo data" in caught.value.hint
    with open_run({**given, "concurrency": 5}, QUIET) as run:
        assert run.config.runtime.concurrency == 5


def test_redo_sets_the_old_results_aside(tmp_path, capsys):
    given = {"run": tmp_path / "run", "profile": "embedded"}
    finish(given)
    with open_run({**given, "k": 8, "redo": "data"}, Console()) as run:
        assert (run.config.dataset.k, run.is_done("data")) == (8, False)
    assert (tmp_path / "run/archive/1/data").is_dir()
    assert "aside in" in capsys.readouterr().err
    with open_run({"run": tmp_path / "new", "redo": "data"}, QUIET) as run:
        assert run.config == Config.model_validate(config_of({}).model_dump())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("pipeline", "--redo", "data", "--rounds", "2"), "no room for them"),
        (("data", "--redo", "data", "--data", "nowhere.csv"), "There is no file or folder"),
        (("pipeline", "--redo", "data", "-k", "10000"), "balanced texts can't be drawn"),
        (("teacher", "train", "--redo", "data", "--device", "cuda"), "needs a CUDA GPU"),
        (("generate", "--redo", "data", "--replay", "nowhere"), "There are no recorded replies"),
        (("verify", "--redo", "data", "--engine-python", "nowhere"), "There is no interpreter"),
    ],
)
def test_a_refused_redo_leaves_the_old_results_in_place(
    call, tmp_path, monkeypatch, words, message
):
    monkeypatch.setattr(preflight, "has_gpu", lambda: False)
    run = tmp_path / "run"
    finish({"run": run, "profile": "embedded"})
    code, _, err = call(*words, "--run", str(run))
    assert code in {1, 3}
    assert message in " ".join(err.split())
    assert run.joinpath("data").exists()
    assert not run.joinpath("archive").exists()


@pytest.mark.parametrize(
    ("words", "instead"),
    [
        (("verify", "--redo", "distill"), "Use `codlocal distill` instead"),
        (("data", "--redo", "teacher"), "Use `codlocal teacher train` instead"),
    ],
)
def test_a_stage_that_a_command_does_not_come_to_is_not_redone(call, tmp_path, words, instead):
    run = tmp_path / "run"
    finish({"run": run, "profile": "embedded"})
    code, _, err = call(*words, "--run", str(run))
    assert code == 2
    assert instead in " ".join(err.split())
    assert not run.joinpath("archive").exists()


def test_a_run_that_another_process_works_on_is_refused(tmp_path):
    given = {"run": tmp_path / "run"}
    with (
        open_run(given, QUIET),
        pytest.raises(RunError, match="Another codlocal process"),
        RunFolder.open(tmp_path / "run", Config()),
    ):
        pass


@pytest.mark.parametrize("command", ["data", "teacher train", *STAGES[2:]])
@pytest.mark.parametrize("setting", [("-k", "8"), ("--set", "dataset.k=8"), ("--redo", "data")])
def test_a_mistyped_run_is_not_begun_by_a_stage(call, tmp_path, monkeypatch, command, setting):
    monkeypatch.chdir(tmp_path)
    code, _, err = call(*command.split(), "--run", "tpyo", *setting)
    assert code == 1
    assert "There is no run in tpyo." in err
    assert "--dataset or --data" in err
    assert not (tmp_path / "tpyo").exists()


@pytest.mark.parametrize("setting", ["dataset.name=imdb", "dataset.path=nowhere.csv"])
def test_a_run_may_be_begun_by_a_setting_that_says_of_what(call, tmp_path, monkeypatch, setting):
    monkeypatch.chdir(tmp_path)
    code, _, err = call("data", "--run", "new", "--set", setting, "--offline")
    assert code == 1
    assert "There is no run" not in err
