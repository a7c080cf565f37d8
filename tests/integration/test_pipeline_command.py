"""The whole pipeline in process, from a CSV file to an evaluated student, on tiny models."""

import json
import shutil

import pytest
from launch import launch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from codlocal.core import jsonl
from codlocal.core.records import Candidate, CounterfactualPair, Example, Rejection
from codlocal.models import locate

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated"),
]


@pytest.fixture(scope="module")
def place(toys):
    toys.joinpath("mine.toml").write_text(
        "[teacher]\nepochs = 30\nbatch_size = 8\nlearning_rate = 3e-3\nmax_length = 64\n"
        "[generator]\nengine = 'transformers'\nprompting = 'completion'\ncandidates = 4\n"
        "rounds = ['guided']\nreply_tokens = 100\ntemperature = 1.0\n"
        "[verification]\nmin_pairs = 0\nmax_edit_distance = 2.0\n"
        "[distillation]\nsteps = 20\nmax_length = 64\n"
        "[runtime]\ndevice = 'cpu'\ndtype = 'float32'\noffline = true\nthreads = 1\n"
    )
    return toys


@pytest.fixture
def call(call, place, monkeypatch):
    monkeypatch.setenv("CODLOCAL_HOME", str(place / "home"))
    monkeypatch.chdir(place)

    def run(*arguments, folder="run", code=0):
        ended, out, err = call(*arguments, "--run", folder, "--json")
        assert ended == code, err
        return json.loads(out), err

    return run


PIPELINE = (
    "pipeline", "--config", "mine.toml", "--data", "mine.csv", "--text-column", "body",
    "--label-column", "verdict", "-k", "8", "--teacher", "encoder", "--student", "encoder",
    "--generator", "generator",
)  # fmt: skip
ROUNDS = (
    *PIPELINE, "--budget", "max", "--select-originals", "active",
    "--set", "generator.rounds=['lexical']", "--set", "verification.fluency_slack=1000",
    "--rounds", "3",
)  # fmt: skip


@pytest.fixture
def summary(call):
    """What is said of `run`; whoever asks first has it made."""
    return call(*PIPELINE)[0]


@pytest.fixture
def rounds(call):
    """What is said of `rounds`, as above."""
    return call(*ROUNDS, folder="rounds")[0]


def test_a_csv_becomes_a_student(place, summary):
    stages = summary["stages"]
    assert [stages[name]["status"] for name in stages] == ["done"] * 6
    for who in ("student", "baseline", "teacher"):
        assert {"accuracy", "macro_f1", "matthews", "teacher_agreement", "n"} <= (
            summary["metrics"][who].keys()
        )
    assert json.loads(place.joinpath("run/metrics.json").read_text()) == summary["metrics"]
    student = AutoModelForSequenceClassification.from_pretrained(place / "run/student")
    AutoTokenizer.from_pretrained(place / "run/student")
    assert set(student.config.id2label.values()) == {"up", "down"}


@pytest.mark.usefixtures("summary")
def test_its_rows_add_up(place):
    def rows(name, kind):
        return list(jsonl.read_rows(place / "run" / name, kind))

    candidates = rows("candidates.jsonl", Candidate)
    pairs = rows("pairs.jsonl", CounterfactualPair)
    refused = [row.candidate_id for row in rows("rejections.jsonl", Rejection) if row.candidate_id]
    assert len(candidates) == 4 * 4
    assert sorted(refused + [row.candidate_id for row in pairs]) == sorted(
        row.id for row in candidates
    )
    assert all(row.failure is None or "cut off" in row.failure for row in candidates)


def test_run_again_it_does_nothing(place, summary, call):
    before = {path: path.stat().st_mtime_ns for path in place.joinpath("run").rglob("*.json*")}
    again, err = call("pipeline")
    assert "Nothing to do" in err
    assert again["metrics"] == summary["metrics"]
    after = {path: path.stat().st_mtime_ns for path in place.joinpath("run").rglob("*.json*")}
    assert after == before


@pytest.mark.usefixtures("summary")
def test_a_later_stage_can_be_done_again_alone(place, call):
    shutil.copytree(place / "run", place / "again")
    _, err = call("evaluate", "--redo", "evaluate", folder="again")
    assert "Set the evaluate stage and later ones aside" in err
    assert place.joinpath("again/archive/1/metrics.json").is_file()
    assert place.joinpath("again/metrics.json").is_file()


@pytest.mark.usefixtures("summary")
def test_a_teacher_that_is_gone_is_told_before_anything_is_set_aside(place, call, monkeypatch):
    monkeypatch.setenv("CODLOCAL_HOME", str(place / "moved"))
    shutil.copytree(place / "run", place / "orphan")
    place.joinpath("home").rename(place / "away")
    before = sorted(place.joinpath("orphan").rglob("*"))
    try:
        said, _ = call("distill", "--redo", "distill", folder="orphan", code=1)
        assert "home/teachers/" in said["error"] and said["error"].endswith(" is gone.")
        assert sorted(place.joinpath("orphan").rglob("*")) == before
        place.joinpath("away").rename(place / "moved")
        call("evaluate", "--redo", "evaluate", folder="orphan")
    finally:
        found = next(place / name for name in ("moved", "away") if (place / name).is_dir())
        found.rename(place / "home")


@pytest.mark.usefixtures("summary")
def test_the_full_budget_asks_for_counterfactuals_of_all_labelled_texts(place, call):
    shutil.copytree(place / "run", place / "full")
    _, err = call("verify", "--budget", "max", "--redo", "generate", folder="full")
    assert "Set the generate stage and later ones aside" in err
    candidates = list(jsonl.read_rows(place / "full/candidates.jsonl", Candidate))
    assert len({row.example_id for row in candidates}) == 8
    assert not place.joinpath("full/student").exists()


def test_further_rounds_flip_what_the_student_gets_wrong(place, rounds, call):
    first, second, third = rounds["rounds"]
    assert (first["run"], second["run"]) == ("rounds", "rounds/rounds/2")
    focus = list(jsonl.read_rows(place / "rounds/rounds/2/data/focus.jsonl", Example))
    assert len(focus) == 4
    new = list(jsonl.read_rows(place / "rounds/rounds/2/pairs.jsonl", CounterfactualPair))
    old = list(jsonl.read_rows(place / "rounds/pairs.jsonl", CounterfactualPair))
    assert {pair.example_id for pair in new} <= {row.id for row in focus}
    assert not {pair.counterfactual for pair in new} & {pair.counterfactual for pair in old}
    assert not {pair.candidate_id for pair in new} & {pair.candidate_id for pair in old}
    assert second["counterfactuals"] == first["counterfactuals"] + len(new)
    assert third["counterfactuals"] >= second["counterfactuals"]
    for number in (2, 3):
        student = place / f"rounds/rounds/{number}/students/student-seed0/codlocal.json"
        record = json.loads(student.read_text())
        assert record["texts"] == 8 + rounds["rounds"][number - 1]["counterfactuals"]
    assert second["metrics"]["student"]["n"] == first["metrics"]["student"]["n"]
    again, err = call(*ROUNDS, folder="rounds")
    assert again["rounds"] == rounds["rounds"]
    assert "Nothing to do" not in err
    for number in (2, 3):
        assert f"Student of round {number}: rounds/rounds/{number}/student" in " ".join(err.split())


@pytest.mark.usefixtures("rounds")
def test_further_rounds_are_replayed_from_the_same_rounds(place, call, monkeypatch):
    monkeypatch.setattr(locate, "resolve", without_generator(place))
    recorded = ("pipeline", "--config", "rounds/run.toml", "--replay", "rounds")
    summary, _ = call(*recorded, "--rounds", "2", folder="replayed")
    assert len(summary["rounds"]) == 2
    for name in ("candidates.jsonl", "verdicts.jsonl", "pairs.jsonl", "rounds/2/pairs.jsonl"):
        assert (place / "replayed" / name).read_bytes() == (place / "rounds" / name).read_bytes()
    more, _ = call(*recorded, "--rounds", "9", folder="replayed", code=1)
    assert "no recorded replies at" in more["error"]
    assert "rounds/4." in more["error"]


def without_generator(place):
    resolve = locate.resolve

    def found(name, **more):
        assert "generator" not in name
        return resolve(name, **more)

    return found


@pytest.mark.usefixtures("rounds")
def test_two_processes_share_further_rounds(place, call):
    shutil.copytree(place / "rounds", place / "shared")
    first, second = launch("pipeline", "--run", "shared", "--rounds", "4", "--json", cwd=place)
    assert (first[0], second) == (0, (0, "", "")), (first, second)
    rows = json.loads(first[1])["rounds"]
    assert [row["round"] for row in rows] == [1, 2, 3, 4]
    assert call("pipeline", "--rounds", "4", folder="shared")[0]["rounds"] == rows


def test_further_rounds_need_room_for_more_counterfactuals(call):
    summary, _ = call("pipeline", "--rounds", "2", folder="paper", code=1)
    assert "--budget max" in summary["hint"]
