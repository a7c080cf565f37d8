"""The commands themselves, in process."""

import csv
import json
import re
import socket

import pytest
from click.testing import CliRunner
from runs import config, run_with_data
from verified import generation_with

from codlocal.airgap import engine as engine_module
from codlocal.cli import cli
from codlocal.core import jsonl, paths
from codlocal.core.config import STAGES
from codlocal.core.errors import CodlocalError, EngineError
from codlocal.core.records import Example, FewShotSplit
from codlocal.generation.engines import server as server_module
from codlocal.models import locate
from codlocal.pipeline import engines


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def invoke(*arguments):
    return CliRunner().invoke(cli, [str(one) for one in arguments])


def succeed(*arguments):
    result = invoke(*arguments)
    assert result.exception is None, result.output
    assert result.exit_code == 0
    return result


def error_of(*arguments):
    result = invoke(*arguments)
    assert isinstance(result.exception, CodlocalError), result.output
    return result.exception


def test_data_end_to_end_on_the_bundled_reviews(place):
    result = succeed("data", "--dataset", "yelp", "--profile", "embedded", "--run", "r", "--json")
    summary = json.loads(result.stdout)
    facts = summary["stages"]["data"]
    assert facts["source"] == "bundled"
    assert facts["status"] == "done"
    assert "UCI Sentiment" in result.stderr
    train = {row.id: row for row in jsonl.read_rows(place / "r/data/train.jsonl", Example)}
    splits = list(jsonl.read_rows(place / "r/data/fewshot.jsonl", FewShotSplit))
    assert [split.seed for split in splits] == [0, 1, 2]
    for split in splits:
        assert len(split.ids) == 16
        assert sum(train[one].label for one in split.ids) == 8
        assert sum(train[one].label for one in split.ids[:8]) == 4
    again = succeed("data", "--run", "r", "--json")
    assert "Nothing to do: the data stage of r is done." in again.stderr
    assert json.loads(again.stdout) == summary


def test_the_table_says_what_was_done(place):
    result = succeed("data", "--profile", "embedded", "--run", "[red]r", "-k", 8)
    words = " ".join(result.stdout.split())
    assert "Run [red]r" in words
    assert "source bundled" in words
    assert "sha256" not in words
    assert succeed("data", "--run", "[red]r", "-q").stdout == ""


def test_a_narrow_terminal_cuts_nothing_off(place, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    write_csv(place / "mine.csv", ["text", "label"], [(f"t{n}", "ab"[n % 2]) for n in range(90)])
    place.joinpath("mine.csv").rename(place / f"{60 * 'x'}.csv")
    result = succeed("data", "--data", f"{60 * 'x'}.csv", "--run", "r")
    assert 60 * "x" in re.sub(r"[\s│]", "", result.stdout)


def write_csv(path, header, rows):
    with path.open("w", newline="") as handle:
        csv.writer(handle).writerows([header, *rows])


def test_a_csv_of_ones_own_with_other_column_names(place):
    rows = [[f"text number {at}", ("up", "down")[at % 2], at] for at in range(40)]
    write_csv(place / "mine.csv", ["body", "verdict", "n"], rows)
    arguments = ("--text-column", "body", "--label-column", "verdict", "-k", 8)
    result = succeed("data", "--data", "mine.csv", *arguments, "--json")
    facts = json.loads(result.stdout)["stages"]["data"]
    assert facts["label_names"] == ["down", "up"]
    assert (facts["source"], facts["name"], facts["task"]) == ("file", "mine", "generic")
    assert facts["train_rows"] + facts["test_rows"] == 40
    assert (place / "runs/mine-default/data/train.jsonl").is_file()
    error = error_of("data", "--data", "mine.csv", "--run", "other")
    assert "body" in error.message + error.hint


def test_bad_data_leaves_a_run_that_can_be_corrected(place):
    write_csv(place / "one.csv", ["text", "label"], [[f"text {at}", "yes"] for at in range(20)])
    assert "one" in error_of("data", "--data", "one.csv", "--run", "r").message
    assert error_of("data", "--data", "none.csv", "--run", "r").exit_code == 1
    place.joinpath("empty.csv").touch()
    assert error_of("data", "--data", "empty.csv", "--run", "r").exit_code == 1
    assert "k must be even" in error_of("data", "--dataset", "yelp", "-k", 7, "--run", "r").message
    succeed("data", "--profile", "embedded", "--run", "r")


def test_an_unknown_dataset_shows_the_near_names():
    error = error_of("data", "--dataset", "sst3", "--run", "r")
    assert "no dataset 'sst3'" in error.message
    assert "Did you mean sst2" in error.hint


def test_settings_are_refused_once_a_stage_is_done_and_redo_helps(place):
    succeed("data", "--profile", "embedded", "--run", "r")
    error = error_of("data", "--run", "r", "--set", "dataset.seeds=1")
    assert "dataset.seeds: 3 -> 1" in error.message
    result = succeed("data", "--run", "r", "--set", "dataset.seeds=1", "--redo", "data", "--json")
    assert json.loads(result.stdout)["stages"]["data"]["status"] == "done"
    assert (place / "r/archive/1/data/train.jsonl").is_file()
    assert len((place / "r/data/fewshot.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("command", "last"),
    [("generate", "generate"), ("verify", "verify"), ("distill", "distill")],
)
def test_a_stage_that_is_done_says_so(place, command, last):
    with run_with_data(place / "r", config()) as run:
        for stage in STAGES[1 : STAGES.index(last) + 1]:
            with run.stage(stage) as facts:
                facts["students"] = {"a": 1, "b": 2}
        jsonl.write_json(run.file("generation.json"), generation_with(4).model_dump(mode="json"))
    result = succeed(command, "--run", "r")
    assert f"Nothing to do: the {last} stage of r is done." in result.stderr
    assert ("students 2" in result.stdout) is (last == "distill")


def test_a_finished_pipeline_does_nothing_and_shows_its_metrics(place):
    scores = {"mean": 0.5, "low": 0.4, "high": 0.6}
    with run_with_data(place / "r", config()) as run:
        for stage in STAGES[1:]:
            with run.stage(stage):
                pass
        jsonl.write_json(run.file("generation.json"), generation_with(4).model_dump(mode="json"))
        for name in ("config.json", "model.safetensors"):
            jsonl.write_text(run.file("student", name), "{}")
    shown = []

    def table(metrics):
        from rich.table import Table

        shown.append(metrics)
        return Table(title="Metrics")

    with pytest.MonkeyPatch.context() as patch:
        from codlocal.evaluation import report

        patch.setattr(report, "read_metrics", lambda _run: scores)
        patch.setattr(report, "table", table)
        result = succeed("pipeline", "--run", "r")
        assert json.loads(succeed("evaluate", "--run", "r", "--json").stdout)["metrics"] == scores
    assert shown == [scores, scores]
    assert "Nothing to do" in result.stderr
    assert "Student: r/student" in result.stderr


def test_the_teacher_is_trained_before_nothing_else(place):
    with run_with_data(place / "r", config()) as run, run.stage("teacher"):
        pass
    assert "teacher stage" in succeed("teacher", "train", "--run", "r").stderr


@pytest.mark.parametrize(
    ("option", "gpu", "kind"),
    [("--cpu", True, "cpu"), ("--gpu", False, "gpu"), (None, True, "gpu"), (None, False, "cpu")],
)
def test_engine_install_can_say_what_it_would_do(monkeypatch, option, gpu, kind):
    monkeypatch.setattr(engines, "has_gpu", lambda: gpu)
    arguments = [option] if option else []
    result = succeed("engine", "install", *arguments, "--dry-run", "--json")
    facts = json.loads(result.stdout)
    assert (facts["kind"], facts["dry_run"]) == (kind, True)
    assert (facts["folder"], facts["to_do"]) == (str(paths.engine()), "build it")
    assert not paths.engine().exists()


def test_engine_install_is_for_one_device():
    result = invoke("engine", "install", "--cpu", "--gpu")
    assert (result.exit_code, "exclude each other" in result.stderr) == (2, True)


def test_engine_install_installs(monkeypatch):
    asked = []

    def install(kind, _console, *, upgrade, offline):
        asked.append((kind, upgrade, offline))
        return {"kind": kind, "vllm": "1.0"}

    monkeypatch.setattr(engine_module, "install", install)
    result = succeed("engine", "install", "--cpu", "--upgrade", "--offline")
    assert asked == [("cpu", True, True)]
    assert "1.0" in result.stdout


class Started:
    """A server that lives, or dies after a while."""

    url, key, model_name = "http://127.0.0.1:1", "the-key", "generator"

    def __init__(self, settings, deaths=()):
        self.settings = settings
        self.deaths = list(deaths)

    def death(self):
        return self.deaths.pop(0) if self.deaths else None


@pytest.fixture
def served(monkeypatch, place):
    """Let `serve` run without a server, up to where it waits; gives what it was asked for."""
    from contextlib import contextmanager

    from codlocal.cli import serve

    asked = {}

    @contextmanager
    def running(settings, _console):
        asked["settings"] = settings
        yield Started(settings)
        asked["stopped"] = True

    async def check(server, seeds):
        asked["checked"] = (server, seeds)

    def find(name, **_more):
        asked["model"] = name
        return place / "model"

    monkeypatch.setattr(server_module, "running", running)
    monkeypatch.setattr(serve, "_check", check)
    monkeypatch.setattr(serve, "_wait", lambda *_: None)
    monkeypatch.setattr(locate, "resolve", find)
    monkeypatch.setattr(engines, "find_engine", lambda _chosen: place / "python")
    return asked


def test_serve_prints_address_and_key(served):
    result = succeed("serve", "--profile", "embedded", "--port", 7777, "--json")
    facts = json.loads(result.stdout)
    assert (facts["url"], facts["key"]) == ("http://127.0.0.1:1", "the-key")
    assert (facts["model"], facts["served_as"]) == ("gemma-3-270m", "generator")
    assert served["settings"].port == 7777
    assert served["settings"].raw_prompts
    assert served["model"] == "gemma-3-270m"
    assert served["checked"][1]
    assert "stopped" in served
    assert "CODLOCAL_SERVER_KEY=the-key codlocal" in result.stderr


def test_serve_serves_the_generator_of_a_run(served, place):
    chosen = ("--set", "generator.model=smollm2-135m")
    succeed("data", "--profile", "embedded", *chosen, "--run", "r")
    succeed("serve", "--run", "r")
    assert served["model"] == "smollm2-135m"
    assert served["settings"].log.absolute() == place / "r/server.log"


def test_serve_refuses_a_big_profile_without_a_gpu(served, monkeypatch):
    from codlocal.pipeline import preflight

    monkeypatch.setattr(preflight, "has_gpu", lambda: False)
    assert error_of("serve", "--profile", "default").exit_code == 3
    assert "settings" not in served


def test_serve_looks_for_the_engine_before_it_fetches_a_model(served, monkeypatch):
    def missing(_chosen):
        raise EngineError("vLLM is not installed.")

    monkeypatch.setattr(engines, "find_engine", missing)
    assert "not installed" in error_of("serve", "--profile", "embedded").message
    assert "model" not in served


def test_a_busy_port_is_one_clear_error(served, monkeypatch, place):
    monkeypatch.undo()
    monkeypatch.setenv("CODLOCAL_HOME", str(place / "home"))
    monkeypatch.setattr(locate, "resolve", lambda _name, **_more: place)
    monkeypatch.setattr(engines, "find_engine", lambda _chosen: place / "python")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        error = error_of("serve", "--profile", "embedded", "--run", place / "r", "--port", port)
    assert f"Port {port}" in error.message
    assert error.exit_code == 3
