"""What pairs of earlier rounds have to say in a later one."""

import pytest
from runs import REVIEWS, edits_of_the_first, run_with_data, write_search

from codlocal.core import artifacts, jsonl
from codlocal.core.console import Console
from codlocal.core.records import CounterfactualPair, Original, Rejection
from codlocal.verification.stage import read_evidence, read_unusable, run_verify

FIRST, SECOND = "The food was BAD and the  staff cold.", "The food was  AWFUL and the staff cold."
OTHER = "The food was bland and the staff so rude."
EARLIER = CounterfactualPair(
    example_id="train/3", candidate_id="train/3/0/0/1", text=FIRST, label=0, counterfactual=SECOND,
    counterfactual_label=1, edit_distance=0.2, target_probability=0.9,
)  # fmt: skip


def generated(run, *texts):
    """Candidates for the first review, of which the first is the smallest edit."""
    jsonl.write_rows(run.file(*artifacts.EARLIER_PAIRS), [EARLIER])
    asked = Original(example_id="train/0", probabilities=(0.1, 0.9), label=1)
    write_search(run, edits_of_the_first(texts), [asked])


@pytest.mark.parametrize(
    ("text", "whose"),
    [
        ("The food was bad and the staff cold.", "train/3"),
        ("The food was awful and the staff cold.", "train/3/0/0/1"),
    ],
)
def test_neither_text_of_an_earlier_pair_is_a_counterfactual(tmp_path, text, whose):
    assert REVIEWS[0].id == "train/0"
    with run_with_data(tmp_path) as run:
        generated(run, text, OTHER)
        run_verify(run, Console(-1))
        pairs = list(jsonl.read_rows(run.file("pairs.jsonl"), CounterfactualPair))
        told = list(jsonl.read_rows(run.file("rejections.jsonl"), Rejection))
    assert [pair.counterfactual for pair in pairs] == [OTHER]
    refused = {row.candidate_id: (row.reason, row.detail) for row in told}
    assert refused.pop("train/0/0/0/0", None) == ("a duplicate of a chosen text", whose)
    assert not refused


def test_the_search_is_told_of_both_too(tmp_path):
    with run_with_data(tmp_path) as run:
        generated(run)
        unusable = read_unusable(run)
        assert set(read_evidence(run).earlier.values()) == {"train/3", "train/3/0/0/1"}
        seen = f"{REVIEWS[0].text} So it was."  # of the test split
    assert [unusable(one) for one in (FIRST.upper(), SECOND.lower(), seen, OTHER)] == [
        True, True, True, False,
    ]  # fmt: skip
