"""A dry run: what would be done, and what is missing for it."""

import json
import os
import re

import pytest
from runs import config, run_with_data

from codlocal.core import run_lock
from codlocal.core.config import STAGES
from codlocal.core.sections import RuntimeConfig
from codlocal.pipeline import outlook
from codlocal.pipeline.engines import has_gpu

EMBEDDED = ("pipeline", "--dry-run", "--json", "--profile", "embedded", "--engine", "transformers")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CODLOCAL_HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.fixture
def look(call):
    def run(*arguments):
        code, out, err = call(*EMBEDDED, *arguments)
        return code, json.loads(out), err

    return run


def test_a_dry_run_says_what_there_is_to_do_and_writes_nothing(look, place):
    code, found, err = look("-k", "8", "--seeds", "2", "--max-candidates", "20")
    assert (code, err) == (0, "")
    assert found["run"] == "runs/yelp-embedded"
    assert list(found["stages"]) == list(STAGES)
    assert found["stages"]["generate"] == "to do: up to 8 originals, 20 replies each"
    assert found["stages"]["distill"] == "to do: 4 students"
    needs = {name: need["state"] for name, need in found["needs"].items()}
    assert needs["run folder"] == "new"
    assert needs["texts"] == "yelp: 595 train / 300 test, 2 labels"
    assert needs["prompt"].endswith("sentiment.jinja")
    assert needs["engine"] == "transformers, in this process"
    assert needs["generator"] == "gemma-3-270m: not here, to be fetched"
    assert list(place.iterdir()) == []


def test_doubtful_labels_and_dropped_rows_are_told_before_a_run(look, place):
    rows = [{"text": f"text {n}", "label": ("Yes", "yes", "no")[n % 3]} for n in range(30)]
    rows.append({"text": "", "label": "no"})
    (place / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, found, _ = look("--data", "a.jsonl", "-k", "4", "--seeds", "1")
    assert code == 0
    assert found["needs"]["texts"]["state"].endswith("3 labels, rows dropped: 1")
    assert "'Yes' and 'yes' are classes of their own" in found["needs"]["labels"]["state"]


def test_a_narrow_terminal_cuts_no_path_off(call, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    _, out, _ = call(*(one for one in EMBEDDED if one != "--json"), "--student", "/" + 60 * "x")
    assert 60 * "x" in re.sub(r"[\s│]", "", out)


@pytest.mark.parametrize(
    ("targets", "replies"),
    [("all", "24 replies for each other label"), ("confusion", "24 replies each")],
)
def test_replies_are_told_for_each_label_that_is_a_target(look, targets, replies):
    _, found, _ = look("-k", "8", "--seeds", "1", "--targets", targets)
    assert found["stages"]["generate"] == f"to do: up to 4 originals, {replies}"


@pytest.mark.parametrize(
    ("options", "need", "words"),
    [
        (("--offline", "--generator", "some/model"), "generator", "not in the local hub cache"),
        (("--student", "./none"), "student", "no model folder"),
        (
            ("--targets", "confusion", "--confused-student", "none"),
            "confused student",
            "no student in",
        ),
        (("--data", "none.csv"), "texts", "none.csv"),
        (("-k", "4000"), "texts", "4000 balanced texts can't be drawn"),
        (("--prompt", "none.jinja"), "prompt", "none.jinja"),
        (("--replay", "none"), "engine", "none"),
        (("--rounds", "3"), "rounds", "no room for them"),
        (("--rounds", "3", "--budget", "max", "--replay", "none"), "rounds", "none"),
    ],
)
def test_what_would_stop_a_run_is_said_before_it(look, place, options, need, words):
    code, found, err = look(*options)
    assert code == 1
    assert not found["needs"][need]["ok"]
    assert words in found["needs"][need]["state"]
    assert f"{need}: " in err
    assert list(place.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "warned"),
    [
        (("--cfe-per-example", "3"), True),
        (("--cfe-per-example", "3", "--budget", "max"), False),
        (("--cfe-per-example", "1"), False),
    ],
)
def test_counterfactuals_that_no_student_will_see_are_warned_of(look, options, warned):
    code, _, err = look(*options)
    said = " ".join(err.split())
    assert code == 0
    assert ("3 counterfactuals of an original are sought" in said) is warned
    assert ("--budget max" in said) is warned


@pytest.mark.parametrize("budget", ["paper", "max"])
def test_a_choice_of_originals_under_a_budget_that_takes_all_is_warned_of(look, budget):
    code, _, err = look("--select-originals", "active", "--budget", budget)
    assert code == 0
    assert ("active chooses none" in " ".join(err.split())) is (budget == "max")


def model_at_hand(place, config):
    folder = place / "deep"
    folder.mkdir(exist_ok=True)
    for name in ("model.safetensors", "tokenizer.json"):
        folder.joinpath(name).touch()
    folder.joinpath("config.json").write_text(config)


@pytest.mark.parametrize(
    "options",
    [
        ("--student", "deep"),
        ("--student", "some/model", "--teacher", "deep", "--student-init", "teacher"),
    ],
)
def test_more_layers_than_a_model_at_hand_has_are_refused(look, place, options):
    model_at_hand(place, '{"model_type": "bert", "num_hidden_layers": 4}')
    code, found, _ = look(*options, "--student-layers", "5")
    assert (code, found["needs"]["student"]["ok"]) == (1, False)
    assert "has 4 layers, fewer than the 5" in found["needs"]["student"]["state"]
    assert look(*options, "--student-layers", "4")[0] == 0


def test_a_pooling_that_a_model_at_hand_can_not_have_is_refused(look, place):
    model_at_hand(place, '{"model_type": "bert"}')
    code, found, _ = look("--student", "deep", "--pooling", "mean")
    assert (code, found["needs"]["student"]["ok"]) == (1, False)
    assert "can't be chosen" in found["needs"]["student"]["state"]
    assert list(place.iterdir()) == [place / "deep"]


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ('{"0": "bad", "1": "good"}', "no label named negative, positive"),
        ('{"0": "negative", "1": "neutral", "2": "positive"}', "3 labels, the data 2"),
        ('{"0": "Positive", "1": "Negative"}', "deep"),
        ("{}", "deep"),
    ],
)
def test_the_labels_of_a_classifier_at_hand_have_to_be_the_datas(look, place, labels, words):
    head = '"architectures": ["BertForSequenceClassification"]'
    model_at_hand(place, f'{{{head}, "id2label": {labels}}}')
    code, found, _ = look("--teacher", "deep")
    assert (code == 0) is found["needs"]["teacher"]["ok"] is (words == "deep")
    assert words in found["needs"]["teacher"]["state"]
    model_at_hand(place, f'{{"id2label": {labels}}}')
    assert look("--teacher", "deep")[0] == 0, "an encoder is fine-tuned"


def test_a_generator_at_hand_that_does_not_generate_is_refused(look, place):
    model_at_hand(place, '{"architectures": ["BertModel"]}')
    code, found, err = look("--generator", "deep", "--engine", "vllm", "--engine-python", "none")
    assert (code, found["needs"]["generator"]["ok"]) == (3, False)
    assert "not a language model" in found["needs"]["generator"]["state"]
    assert err.count("not a language model") == 1


def test_rounds_that_have_room_are_told(look):
    code, found, _ = look("--rounds", "3", "--budget", "max")
    assert (code, found["needs"]["rounds"]["state"]) == (0, "3 in all")


def test_texts_of_the_hub_are_to_be_fetched_unless_the_run_is_offline(look):
    options = ("--dataset", "sst2", "--source", "hub")
    assert look(*options)[1]["needs"]["texts"]["state"] == "sst2: not here, to be fetched"
    code, found, _ = look(*options, "--offline")
    assert (code, found["needs"]["texts"]["ok"]) == (1, False)


@pytest.mark.skipif(has_gpu(), reason="has a GPU")
def test_a_missing_device_is_told_beside_all_else(look):
    code, found, _ = look("--device", "cuda")
    assert code == 3
    assert [name for name, need in found["needs"].items() if not need["ok"]] == ["device"]


def test_a_whole_run_needs_nothing_but_its_folder(tmp_path):
    settings = config().model_copy(update={"runtime": RuntimeConfig(device="cuda")})
    with run_with_data(tmp_path / "run", settings) as run:
        for stage in STAGES[1:]:
            with run.stage(stage):
                pass
        assert set(outlook.stages(run, None).values()) == {"done"}
        assert [need.name for need in outlook.needs(run, None)] == ["run folder", "texts"]
        # A further round generates and distils, though the run is whole.
        asked = [need.name for need in outlook.needs(run, None, rounds=2)]
        assert {"device", "engine", "student"} < set(asked) and "teacher" not in asked
        with run_with_data(run.file("rounds", "2"), settings) as last, last.stage("evaluate"):
            pass
        asked = [need.name for need in outlook.needs(run, None, rounds=2)]
        assert asked == ["run folder", "rounds", "texts"]


def test_done_stages_are_done_unless_they_are_redone(tmp_path):
    with run_with_data(tmp_path / "run") as run:
        assert outlook.stages(run, None)["data"] == "done"
        assert outlook.stages(run, "data")["data"] == "to do"
    states = {need.name: need.state for need in outlook.needs(run, None)}
    assert states["run folder"] == "goes on"
    assert states["texts"].startswith("tiny: ")


def test_a_run_that_is_busy_or_can_not_be_written_is_told_before_it(look, place, monkeypatch):
    place.joinpath("r").mkdir()
    with run_lock.locked(place / "r"):
        code, found, err = look("--run", "r")
    assert code == 1
    assert "Another codlocal process is working on" in found["needs"]["run folder"]["state"]
    assert list(place.joinpath("r").iterdir()) == [place / "r" / "run.lock"]
    monkeypatch.setattr(os, "access", lambda *_: False)
    code, found, err = look("--run", "new/r")
    assert code == 1
    assert "can't be written to" in err
    assert not place.joinpath("new").exists()
