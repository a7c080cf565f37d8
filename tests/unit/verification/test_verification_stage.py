import re

import pytest
from runs import REVIEWS, config, run_with_data, write_search

from codlocal.core import artifacts, jsonl
from codlocal.core.console import Console
from codlocal.core.errors import QualityError, RunError
from codlocal.core.records import (
    Candidate,
    CounterfactualPair,
    Example,
    Original,
    Rejection,
)
from codlocal.core.run import RunFolder
from codlocal.verification.choice import NOT_ASKED
from codlocal.verification.report import read_generation
from codlocal.verification.stage import run_verify

QUIET = Console(-1)
EDITS = (
    "The food was bad and the staff rude.",
    "The food was good and the staff very friendly.",
    None,
)


def candidates():
    return [
        Candidate(
            id=f"train/0/0/0/{at}", example_id="train/0", round=0, strategy="guided",
            source_label=1, target_label=0, text=text, failure=None if text else "empty",
        )
        for at, text in enumerate(EDITS)
    ]  # fmt: skip


def generated(run, rows=None):
    asked = [
        Original(example_id=row.id, probabilities=(0.5, 0.5), label=row.label)
        for row in REVIEWS[:2]
    ]
    write_search(run, candidates() if rows is None else rows, asked)


def read(run, name, kind):
    return list(jsonl.read_rows(run.file(name), kind))


def test_flips_become_pairs_and_the_rest_is_kept_with_its_reason(tmp_path):
    with run_with_data(tmp_path) as run:
        generated(run)
        run_verify(run, QUIET)
        [pair] = read(run, "pairs.jsonl", CounterfactualPair)
        assert pair.counterfactual == EDITS[0]
        rejections = read(run, "rejections.jsonl", Rejection)
        assert {(row.candidate_id, row.example_id) for row in rejections} == {
            ("train/0/0/0/1", "train/0"), ("train/0/0/0/2", "train/0"), (None, "train/1"),
        }  # fmt: skip
        facts = run.facts("verify")
        assert (facts["candidates"], facts["flips"], facts["pairs"]) == (3, 1, 1)
        assert facts["originals"] == 2
        assert facts["median_edit_distance"] == pytest.approx(2 / 9, abs=1e-4)
        assert facts["reasons"] == {"not flipped": 1, "empty": 1, NOT_ASKED: 1}
        assert facts["directions"] == {"positive -> negative": 1}


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("originals.jsonl", "1 of the 2 rows"),
        ("candidates.jsonl", "2 of the 3 rows"),
        ("verdicts.jsonl", "1 of the 2 rows"),
    ],
)
def test_lost_rows_of_the_search_are_no_rows_that_never_were(tmp_path, name, told):
    with run_with_data(tmp_path) as run:
        generated(run)
        run.note("generate", originals=2, candidates=3)
        path = run.file(name)
        path.write_bytes(path.read_bytes()[:-2])
        with pytest.raises(RunError, match=f"{name} is damaged: it has {told}") as caught:
            run_verify(run, QUIET)
    assert "--redo generate" in caught.value.hint


def test_a_text_of_the_test_split_is_no_counterfactual(tmp_path):
    settings = config(verification={"min_pairs": 0})
    with run_with_data(tmp_path, settings) as run:
        generated(run)
        same = Example(id="test/0", text=f" {EDITS[0].upper()}", label=0)
        jsonl.write_rows(run.file(*artifacts.TEST), [same])
        run_verify(run, QUIET)
        assert read(run, "pairs.jsonl", CounterfactualPair) == []
        reasons = {row.candidate_id: row.reason for row in read(run, "rejections.jsonl", Rejection)}
    assert reasons["train/0/0/0/0"] == "a text of the test split"


def test_the_measures_are_written_with_the_pairs(tmp_path):
    with run_with_data(tmp_path) as run:
        generated(run)
        run_verify(run, QUIET)
        found = read_generation(run)
    assert (found.total.candidates, found.total.failed, found.total.flips) == (3, 1, 1)
    assert (found.total.originals, found.total.solved, found.total.chosen.n) == (2, 1, 1)
    assert found.total.seconds_per_pair is not None
    assert [one.name for one in found.rounds] == ["round 1"]
    assert [one.name for one in found.directions] == ["positive -> negative"]


@pytest.mark.parametrize("another", ["replay", "taken_from"])
def test_seconds_of_another_runs_replies_are_not_told(tmp_path, another):
    with run_with_data(tmp_path) as run:
        generated(run)
        run.note("generate", round_seconds={"round 1": 3.0})
        run_verify(run, QUIET)
        assert read_generation(run).rounds[0].seconds_per_pair == 3.0
        run.note("generate", **{another: "elsewhere"})
    with RunFolder.open(tmp_path, run.config, redo="verify") as run:
        run_verify(run, QUIET)
        found = read_generation(run)
    assert found.total.seconds_per_pair is found.rounds[0].seconds_per_pair is None


def test_an_original_may_get_several_counterfactuals(tmp_path):
    with run_with_data(tmp_path, config(verification={"per_example": 2})) as run:
        more = candidates()[0].model_copy(
            update={"id": "train/0/0/0/3", "text": "The food was awful and the staff dirty."}
        )
        generated(run, [*candidates(), more])
        run_verify(run, QUIET)
        pairs = read(run, "pairs.jsonl", CounterfactualPair)
        assert [pair.example_id for pair in pairs] == ["train/0", "train/0"]


def test_the_confused_label_is_wanted_even_at_a_larger_edit(tmp_path):
    near, far = EDITS[0], "The food was bad, staff rude."
    rows = [
        candidates()[0].model_copy(update={"target_label": 1}),
        candidates()[0].model_copy(update={"id": "train/0/0/0/9", "text": far}),
    ]
    for targets, text in (("runner-up", near), ("confusion", far)):
        with run_with_data(tmp_path / targets, config(generator={"targets": targets})) as run:
            generated(run, rows)
            run_verify(run, QUIET)
            [pair] = read(run, "pairs.jsonl", CounterfactualPair)
            assert pair.counterfactual == text


def test_extra_counterfactuals_of_one_direction_are_kept_and_told(tmp_path):
    with run_with_data(tmp_path, config(verification={"per_example": 2})) as run:
        down, up = candidates()[0], REVIEWS[1]
        more = {"id": "train/0/0/0/3", "text": "The food was awful and the staff dirty."}
        back = {
            "id": "train/1/0/0/9", "example_id": "train/1", "source_label": 0, "target_label": 1,
            "text": up.text.replace("bad", "good").replace("rude", "friendly"),
        }  # fmt: skip
        rows = [*candidates(), down.model_copy(update=more), down.model_copy(update=back)]
        generated(run, rows)
        run_verify(run, QUIET)
        counts = {"negative -> positive": 1, "positive -> negative": 2}
        assert run.facts("verify")["directions"] == counts
        found = read_generation(run).directions
    assert {one.name: one.chosen.n for one in found} == counts


def test_a_finished_stage_has_nothing_to_say(tmp_path, capsys):
    with run_with_data(tmp_path) as run:
        generated(run)
        run_verify(run, Console())
        assert "Verified: 1 pairs of 2 originals, 1 flips among 3 candidates" in (
            capsys.readouterr().err
        )
        run_verify(run, Console())
        assert capsys.readouterr().err == ""


def test_too_few_pairs_are_a_quality_error_and_the_reasons_are_kept(tmp_path):
    settings = config(verification={"min_pairs": 2})
    with run_with_data(tmp_path, settings) as run:
        generated(run)
        with pytest.raises(QualityError, match="Only 1 verified pairs of 2 originals") as caught:
            run_verify(run, QUIET)
        assert caught.value.exit_code == 4
        assert "rejections.jsonl" in caught.value.hint
        assert not run.is_done("verify")
        assert run.facts("verify")["pairs"] == 1
        assert len(read(run, "rejections.jsonl", Rejection)) == 3
    with run_with_data(tmp_path, settings) as run, pytest.raises(QualityError):
        run_verify(run, QUIET)


@pytest.mark.parametrize("failure", ["refused: 3168 tokens", "cut off (refused: 3168 tokens)"])
def test_where_most_candidates_were_refused_the_context_is_named(tmp_path, failure):
    with run_with_data(tmp_path, config(verification={"min_pairs": 2})) as run:
        refused = [
            row.model_copy(update={"id": f"{row.id}{at}", "text": None, "failure": failure})
            for row in candidates()
            for at in range(2)
        ]
        generated(run, [*candidates(), *refused])
        with pytest.raises(QualityError) as caught:
            run_verify(run, QUIET)
    assert caught.value.hint.startswith("6 of 9 candidates were refused by the engine.")
    assert "--set runtime.max_model_len=8192 --redo generate" in caught.value.hint


def test_where_the_search_was_bounded_the_bounds_are_named(tmp_path):
    bounds = {"max_tokens": 1, "max_rounds": 2}
    for generator, advice in (
        ({}, "Ask for"),
        (bounds, "Raise --max-tokens and --max-rounds, ask"),
    ):
        settings = config(generator=generator, verification={"min_pairs": 2})
        with run_with_data(tmp_path / advice[:3], settings) as run:
            generated(run)
            with pytest.raises(QualityError) as caught:
                run_verify(run, QUIET)
        assert caught.value.hint.startswith(advice)


def test_where_the_budget_was_too_small_to_ask_anything_it_alone_is_named(tmp_path, capsys):
    settings = config(generator={"max_tokens": 1, "max_rounds": 2})
    with run_with_data(tmp_path, settings) as run:
        generated(run, [])
        with pytest.raises(QualityError) as caught:
            run_verify(run, Console())
    assert caught.value.hint.startswith("Raise --max-tokens, and add --redo generate;")
    assert f"2 originals have no pair, as {NOT_ASKED}" in capsys.readouterr().err


def test_no_pairs_at_all_can_be_allowed(tmp_path):
    settings = config(verification={"min_pairs": 0, "max_edit_distance": 0.01})
    with run_with_data(tmp_path, settings) as run:
        generated(run)
        run_verify(run, QUIET)
        assert run.facts("verify")["median_edit_distance"] is None
        assert run.is_done("verify")


def test_candidates_that_were_written_for_another_gate_are_warned_of(tmp_path, capsys):
    with run_with_data(tmp_path) as run:
        generated(run)
        run_verify(run, QUIET)
        [warning] = re.findall("Warning: .*", capsys.readouterr().err)
        assert warning == f"Warning: 1 originals have no pair, as {NOT_ASKED}."
    with RunFolder.open(tmp_path, config(verification={"per_example": 2}), redo="verify") as run:
        run_verify(run, QUIET)
        assert run.is_done("verify")
    said = capsys.readouterr().err
    assert "Warning: The candidates were written under earlier settings" in said
    assert "verification.per_example: 1 -> 2" in said and "--redo generate" in said


def test_without_complete_candidates_the_command_to_run_is_named(tmp_path):
    with run_with_data(tmp_path) as run, pytest.raises(RunError, match="no complete") as caught:
        run_verify(run, QUIET)
    assert "codlocal generate --run" in caught.value.hint
