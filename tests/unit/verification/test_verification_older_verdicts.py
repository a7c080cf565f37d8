"""Verdicts of earlier versions are told by the rules of this one."""

from codlocal.core.records import Candidate, Example, Verdict
from codlocal.verification.choice import Evidence
from codlocal.verification.stage import _by_the_rules_of_now

EXAMPLES = {str(n): Example(id=str(n), text="The soup was very good.", label=1) for n in range(40)}


def evidence(**told):
    row = Candidate(
        id="0/0", example_id="0", round=0, strategy="guided", source_label=1, target_label=0,
        text="The soup was very.",
    )  # fmt: skip
    verdicts = [
        Verdict(
            candidate_id=one, example_id="0", probabilities=(0.9, 0.1), label=0, flipped=True,
            edits=1, edit_distance=0.2, **told,
        )
        for one in ("0/0", "0/1")
    ]  # fmt: skip
    return Evidence(
        examples=EXAMPLES, originals={}, candidates={row.id: row},
        verdicts={one.candidate_id: one for one in verdicts},
    )  # fmt: skip


def test_one_that_says_nothing_of_broken_off_phrases_is_told_of_them():
    found = _by_the_rules_of_now(evidence())
    assert found["0/0"].broken_off == ("very",)
    assert found["0/1"].broken_off == (), "of a candidate that is lost nothing is known"


def test_one_that_says_there_are_none_is_believed():
    given = evidence(broken_off=())
    assert _by_the_rules_of_now(given) == given.verdicts
