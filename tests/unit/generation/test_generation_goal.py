"""What ends the search for an original: a flip that the verify stage can take."""

import json
from contextlib import contextmanager

import pytest
from fakes import FakeEngine, FakeTeacher
from plans import verification_with
from runs import REVIEWS, config, run_with_data
from verified import verdict_with

from codlocal.core import artifacts, jsonl
from codlocal.core.console import Console
from codlocal.core.records import Candidate, CounterfactualPair, Example
from codlocal.generation.stage import run_generate
from codlocal.pipeline.session import verification_of
from codlocal.verification.stage import run_verify

ROUNDS = {"rounds": ["guided", "free"]}


def generate(run, engine=None, verification=None):
    teacher = FakeTeacher()

    @contextmanager
    def open_engine():
        yield engine or FakeEngine()

    verification = verification or verification_of(run, teacher)
    run_generate(run, open_engine, teacher, verification, Console(-1))
    rows = list(jsonl.read_rows(run.file("candidates.jsonl"), Candidate))
    return {row.round for row in rows}


def elsewhere(_examples, rows):
    """Every candidate flips, into a third label."""
    return [
        verdict_with(candidate_id=row.id, example_id=row.example_id, probabilities=(0.1, 0.2, 0.7),
                label=2, flipped=True, edits=1, edit_distance=0.1)
        for row in rows
    ]  # fmt: skip


def test_where_the_settings_choose_the_target_another_label_ends_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("runs.NAMES", ("negative", "positive", "mixed"))
    accept_all = verification_with(elsewhere, lambda _originals: lambda _verdict, _original: True)
    for targets, rounds in (("runner-up", {0}), ("confusion", {0, 1}), ("all", {0, 1})):
        settings = config(generator={**ROUNDS, "targets": targets})
        with run_with_data(tmp_path / targets, settings) as run:
            assert generate(run, verification=accept_all) == rounds


WRITTEN = Example(id="train/1/1/0/0~2", text="The food was good and the staff friendly.", label=1)
BACK = REVIEWS[1].text
OTHER = "The food was bland and the staff friendly, but dirty."


def later_round(run):
    """A round that is to flip a counterfactual of the first round."""
    pair = CounterfactualPair(
        example_id=REVIEWS[1].id, candidate_id="train/1/1/0/0", text=BACK, label=0,
        counterfactual=WRITTEN.text, counterfactual_label=1, edit_distance=0.2,
        target_probability=0.9,
    )  # fmt: skip
    jsonl.write_rows(run.file(*artifacts.FOCUS), [WRITTEN])
    jsonl.write_rows(run.file(*artifacts.EARLIER_PAIRS), [pair])


HELD_OUT = "The food was BAD and the  staff dirty."


@pytest.mark.parametrize("earlier", [True, False])
def test_a_flip_into_what_verification_refuses_ends_no_search(tmp_path, earlier):
    """It has the words of an earlier pair or of the test split, in other case and spacing."""
    same = " ".join(HELD_OUT.lower().split())

    def reply(request, _index):
        return json.dumps({"text": same if request.id.split("/")[-2] == "0" else OTHER})

    settings = config(generator={"rounds": ["free", "free"]})
    with run_with_data(tmp_path, settings) as run:
        later_round(run)
        [pair] = jsonl.read_rows(run.file(*artifacts.EARLIER_PAIRS), CounterfactualPair)
        if earlier:
            again = pair.model_copy(update={"counterfactual": HELD_OUT})
            jsonl.write_rows(run.file(*artifacts.EARLIER_PAIRS), [pair, again])
        else:
            held_out = Example(id="test/0", text=HELD_OUT, label=0)
            jsonl.write_rows(run.file(*artifacts.TEST), [held_out])
        assert generate(run, FakeEngine(reply)) == {0, 1}
        run_verify(run, Console(-1))
        [pair] = jsonl.read_rows(run.file("pairs.jsonl"), CounterfactualPair)
    assert pair.counterfactual == OTHER


def test_a_flip_back_into_the_text_itself_ends_no_search(tmp_path):
    """It is a text of an earlier pair, so that the verify stage will not take it."""

    def reply(request, _index):
        return json.dumps({"text": BACK if request.id.split("/")[-2] == "0" else OTHER})

    settings = config(generator={"rounds": ["free", "free"]})
    with run_with_data(tmp_path, settings) as run:
        later_round(run)
        assert generate(run, FakeEngine(reply)) == {0, 1}
        run_verify(run, Console(-1))
        [pair] = jsonl.read_rows(run.file("pairs.jsonl"), CounterfactualPair)
    assert (pair.text, pair.counterfactual) == (WRITTEN.text, OTHER)
