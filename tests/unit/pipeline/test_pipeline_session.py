import shutil
from contextlib import contextmanager

import numpy as np
import pytest
from fakes import FakeEngine, FakeTeacher
from runs import config, run_with_data

from codlocal.core import artifacts
from codlocal.core import config as settings
from codlocal.core.config import STAGES, resolve
from codlocal.core.console import Console
from codlocal.core.errors import ConfigError, DeviceError, EngineError, ModelError
from codlocal.core.records import Example
from codlocal.core.run import RunFolder
from codlocal.evaluation.predictions import TestSplit
from codlocal.pipeline import engines, opening, preflight
from codlocal.pipeline.ablation import _prepared
from codlocal.pipeline.cells import plan
from codlocal.pipeline.grid import Grid
from codlocal.pipeline.session import Session, manifest_summary

QUIET = Console(-1)


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(preflight, "has_gpu", lambda: False)


@pytest.mark.parametrize("profile", ["default", "paper-qwen"])
def test_without_a_gpu_a_big_profile_names_the_embedded_one(tmp_path, no_gpu, profile):
    chosen = resolve([settings.profile_settings(profile)])
    with pytest.raises(DeviceError, match="needs a CUDA GPU") as caught:
        preflight.check_device(chosen)
    assert caught.value.exit_code == 3
    assert "--profile embedded" in caught.value.hint
    assert chosen.generator.model in caught.value.message
    with RunFolder.open(tmp_path / "run", chosen) as run:
        with pytest.raises(DeviceError):
            Session(run, QUIET).advance("evaluate")
        assert run.manifest.stages == {}
        assert not run.file("data").exists()


def test_a_driver_whose_gpu_torch_can_not_use_is_told_apart(no_gpu, monkeypatch):
    monkeypatch.setattr(engines.machine, "has_gpu_driver", lambda: True)
    monkeypatch.setattr("codlocal.models.devices.gpu_problem", lambda: "torch is old")
    with pytest.raises(DeviceError, match="there is a driver, but torch is old"):
        preflight.check_device(resolve([settings.profile_settings("default")]))


def test_with_a_gpu_it_goes_on_to_look_for_the_engine(monkeypatch):
    monkeypatch.setattr(preflight, "has_gpu", lambda: True)
    looked = []
    monkeypatch.setattr(preflight, "find_engine", looked.append)
    monkeypatch.setattr(preflight, "check_interpreter", lambda _python: None)
    chosen = resolve([settings.profile_settings("default")])
    preflight.check_device(chosen)
    preflight.check_engine(chosen)
    assert looked == [None]


@pytest.mark.parametrize(
    ("setting", "error", "message", "begun"),
    [("prompt", ConfigError, "no prompt", ["data"]), ("model", ModelError, "no model folder", [])],
)
def test_what_the_generator_lacks_is_found_before_the_teacher_is_trained(
    setting, error, message, begun, tmp_path, monkeypatch
):
    monkeypatch.setattr(preflight, "find_engine", lambda _chosen: None)
    monkeypatch.setattr(preflight, "check_interpreter", lambda _python: None)
    layer = {"generator": {setting: str(tmp_path / "missing")}}
    chosen = resolve([settings.profile_settings("embedded"), layer])
    with (
        RunFolder.open(tmp_path / "run", chosen) as run,
        pytest.raises(error, match=message),
    ):
        Session(run, QUIET).advance("verify")
    assert list(run.manifest.stages) == begun


@pytest.mark.parametrize("answers", [{"replay": "theirs"}, {"server_url": "http://127.0.0.1:9"}])
def test_no_generator_is_fetched_where_something_else_answers(answers, tmp_path):
    layer = {"generator": {"model": str(tmp_path / "nowhere")}, "runtime": answers}
    preflight.fetch_generator(resolve([layer]), QUIET)


def test_a_missing_engine_is_found_before_the_teacher_is_trained(tmp_path, no_gpu, monkeypatch):
    def missing(_chosen):
        raise EngineError("vLLM is not installed.")

    monkeypatch.setattr(preflight, "find_engine", missing)
    chosen = resolve([settings.profile_settings("embedded")])
    with (
        RunFolder.open(tmp_path / "run", chosen) as run,
        pytest.raises(EngineError, match="not installed"),
    ):
        Session(run, QUIET).advance("verify")
    assert list(run.manifest.stages) == ["data"]
    in_process = {"generator": {"engine": "transformers"}}
    preflight.check_engine(resolve([settings.profile_settings("embedded"), in_process]))
    nobody = {"runtime": {"server_url": "http://127.0.0.1:9"}}
    with pytest.raises(EngineError, match="no OpenAI-compatible server"):
        preflight.check_engine(resolve([settings.profile_settings("embedded"), nobody]))


def test_little_disk_is_a_warning(tmp_path, monkeypatch, capsys):
    usage = shutil.disk_usage(tmp_path)._replace(free=2_500_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _place: usage)
    preflight.warn_of_low_disk(tmp_path / "not" / "yet", QUIET)
    assert "Only 2.5 GB of disk are free" in " ".join(capsys.readouterr().err.split())


def finished(path, *stages):
    with run_with_data(path) as run:
        for stage in stages:
            with run.stage(stage) as facts:
                facts["rows"] = 1


def recording(session, monkeypatch):
    done = []
    steps = (
        "data",
        "train_teacher",
        "tell_of_teacher",
        "generate",
        "verify",
        "distill",
        "evaluate",
    )
    for name in steps:
        monkeypatch.setattr(session, f"_{name}", lambda name=name: done.append(name))
    monkeypatch.setattr(preflight, "check_engine", lambda _: done.append("engine"))
    monkeypatch.setattr(preflight, "fetch_generator", lambda *_: done.append("generator"))
    return done


def test_a_stage_brings_those_before_it_up_to_date(tmp_path, monkeypatch):
    finished(tmp_path, "teacher")
    with run_with_data(tmp_path) as run:
        session = Session(run, QUIET)
        done = recording(session, monkeypatch)
        assert session.advance("verify") == ["generate", "verify"]
        assert done == ["engine", "generator", "generate", "verify"]


def test_a_pipeline_says_what_the_teacher_is_worth_before_hours_are_spent(tmp_path, monkeypatch):
    finished(tmp_path, "teacher")
    with run_with_data(tmp_path) as run:
        session = Session(run, QUIET)
        done = recording(session, monkeypatch)
        session.advance("evaluate")
        assert done.index("tell_of_teacher") == done.index("generate") - 1
        assert done.count("tell_of_teacher") == 1


@pytest.mark.parametrize(("right", "warned"), [(6, False), (5, True)])
def test_a_teacher_no_better_than_the_commonest_label_is_warned_of(right, warned, tmp_path, capsys):
    examples = [Example(id=str(n), text="a", label=int(n < 5)) for n in range(10)]
    says = [example.label ^ (n >= right) for n, example in enumerate(examples)]
    with run_with_data(tmp_path) as run:
        session = Session(run, Console())
        session.__dict__["_test"] = TestSplit(examples, np.eye(2)[says])
        session._tell_of_teacher()
    told = " ".join(capsys.readouterr().err.split())
    assert f"The teacher is right about 0.{right}00 of the 10 test texts." in told
    assert ("would be right about 0.500" in told) == warned


def test_test_texts_of_one_label_say_little_of_a_teacher(tmp_path, capsys):
    examples = [Example(id=str(n), text="a", label=0) for n in range(4)]
    with run_with_data(tmp_path) as run:
        session = Session(run, Console())
        session.__dict__["_test"] = TestSplit(examples, np.eye(2)[[0] * 4])
        session._tell_of_teacher()
    told = " ".join(capsys.readouterr().err.split())
    assert "They have one label only" in told
    assert "nothing to teach" not in told


def test_nothing_is_checked_when_nothing_is_to_be_generated(tmp_path, monkeypatch):
    finished(tmp_path, "teacher", "generate")
    with run_with_data(tmp_path) as run:
        session = Session(run, QUIET)
        done = recording(session, monkeypatch)
        assert session.advance("evaluate") == ["verify", "distill", "evaluate"]
        assert not {"engine", "generator"} & set(done)


def test_a_finished_run_has_nothing_to_do(tmp_path):
    finished(tmp_path, *STAGES[1:])
    with run_with_data(tmp_path) as run:
        assert Session(run, QUIET).advance("evaluate") == []
        summary = manifest_summary(run)
    assert summary["run"] == str(tmp_path)
    assert list(summary["stages"]) == list(STAGES)
    assert summary["stages"]["verify"]["status"] == "done"
    assert summary["stages"]["verify"]["rows"] == 1


def test_texts_of_a_sweep_are_ordered_though_nothing_is_generated(tmp_path, monkeypatch):
    monkeypatch.setattr(Session, "_teacher", FakeTeacher())
    active = {"generator": {"select_originals": "active"}}
    tiny = {"name": "tiny", "path": str(tmp_path)}
    grid = {"profile": "embedded", "dataset": tiny, "k": 8, "arm": "half", "settings": active}
    (source,) = plan(Grid.model_validate({**grid, "seeds": 1}))
    with run_with_data(tmp_path / "runs" / source.name, source.config) as run:
        drawn = artifacts.read_few_shot(run)
        with run.stage("teacher"):
            pass
    assert _prepared(source, source.cells, tmp_path, QUIET) == (source.cells, [])
    assert artifacts.read_few_shot(run) != drawn


def test_an_order_from_before_the_settings_were_changed_is_dropped(tmp_path, monkeypatch):
    monkeypatch.setattr(Session, "_teacher", FakeTeacher())
    with run_with_data(tmp_path, config(generator={"select_originals": "active"})) as run:
        drawn = artifacts.read_few_shot(run)
        Session(run, QUIET).order_originals()
        assert artifacts.read_few_shot(run) != drawn  # and stopped before anything is generated
    with run_with_data(tmp_path) as run:
        Session(run, QUIET).order_originals()
        assert artifacts.read_few_shot(run) == drawn


@pytest.mark.parametrize(("until", "warned"), [("verify", False), ("distill", True)])
def test_a_run_warns_of_counterfactuals_that_no_student_will_see(
    tmp_path, until, warned, monkeypatch, capsys
):
    finished(tmp_path, "teacher")
    with run_with_data(tmp_path, config(verification={"per_example": 2})) as run:
        session = Session(run, Console())
        recording(session, monkeypatch)
        session.advance(until)
    said = " ".join(capsys.readouterr().err.split())
    assert ("2 counterfactuals of an original are sought" in said) is warned


def test_the_pieces_of_a_run_fit_together(tmp_path, monkeypatch):
    engine = FakeEngine()

    @contextmanager
    def open_engine(_run, _console):
        yield engine

    monkeypatch.setattr(opening, "open_engine", open_engine)
    monkeypatch.setattr(preflight, "fetch_generator", lambda *_: None)
    monkeypatch.setattr(Session, "_teacher", FakeTeacher())
    chosen = config(
        generator={"engine": "transformers"},
        verification={"max_edit_distance": 0.9},
        runtime={"threads": 1},
    )
    with run_with_data(tmp_path / "run", chosen) as run:
        with run.stage("teacher"):
            pass
        assert Session(run, QUIET).advance("verify") == ["generate", "verify"]
        assert run.facts("verify")["pairs"] > 0
        assert engine.closed == 1
        assert run.facts("generate")["candidates"] == run.facts("verify")["candidates"]
