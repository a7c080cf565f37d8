import json
import math

import pytest
from fakes import FakeTeacher

from codlocal.core.errors import DataError
from codlocal.core.records import Fluency
from codlocal.verification.reference import (
    WrittenPair,
    judged,
    measure_pairs,
    read_pairs,
    scored,
)

PAIRS = [
    ("The food was good.", "The food was bad."),
    ("The staff was rude.", "The staff was very friendly."),
    ("I love it.", "I love it so."),
]


def written(pairs=PAIRS):
    return [WrittenPair(text=text, counterfactual=other) for text, other in pairs]


def test_people_are_measured_by_what_the_teacher_says():
    found = measure_pairs(judged(written(), FakeTeacher()))
    assert (found.name, found.originals, found.candidates, found.failed) == ("people", 3, 3, 0)
    assert (found.flips, found.solved, found.good.n, found.chosen.n) == (2, 2, 2, 2)
    assert found.flip_rate == pytest.approx(2 / 3)
    assert found.good.edit_distance == pytest.approx((1 / 5 + 2 / 5) / 2)
    assert found.good.boundary_distance == pytest.approx(0.38, abs=0.01)
    assert found.good.perplexity_ratio is None
    assert found.tokens_per_pair is None


def test_several_counterfactuals_of_a_text_are_of_one_original():
    repeated = [*PAIRS[:1] * 9, ("The food was good.", "The food was awful."), PAIRS[1]]
    found = measure_pairs(judged(written(repeated), FakeTeacher()))
    assert (found.originals, found.candidates, found.flips, found.solved) == (2, 11, 11, 2)


def test_flips_and_their_originals_are_scored_each_text_once():
    asked = []

    def score(texts):
        asked.extend(texts)
        means = {"The food was good.": -2.0, "The food was bad.": -3.0}
        return [
            Fluency(mean=means.get(text, -4.0), worst=-9.0, tokens=4, generated=1) for text in texts
        ]

    evidence = scored(judged(written([*PAIRS, PAIRS[0], PAIRS[0]]), FakeTeacher()), score)
    assert sorted(asked) == sorted(text for pair in PAIRS[:2] for text in pair)
    found = measure_pairs(evidence)
    assert found.good.perplexity_ratio == pytest.approx(math.e)  # of e three times, and 1
    assert found.tokens_per_pair is None
    assert evidence.verdicts["2"].fluency is None


def test_where_nothing_flips_nothing_is_scored():
    evidence = scored(judged(written(PAIRS[2:]), FakeTeacher()), lambda _texts: pytest.fail())
    assert measure_pairs(evidence).good.perplexity_ratio is None


def test_pairs_are_read_from_json_lines(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(pair.model_dump_json() + "\n" for pair in written()))
    assert read_pairs(path) == written()


def test_what_else_a_line_says_is_left_alone(tmp_path):
    path = tmp_path / "pairs.jsonl"
    rows = [pair.model_dump() | {"label": None, "counterfactual_label": 1.5} for pair in written()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert read_pairs(path) == written()


def test_a_byte_order_mark_and_blank_lines_are_no_pairs(tmp_path):
    path = tmp_path / "pairs.jsonl"
    lines = "\n".join(pair.model_dump_json() + "\n" for pair in written())
    path.write_text(lines + "\n \n", "utf-8-sig")
    assert read_pairs(path) == written()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "can't be read"),
        (b"", "has no pairs"),
        (b"\xff\xfe", "can't be read"),
        (
            json.dumps({"text": "a", "label": 0}).encode(),
            "line 1, is no pair: counterfactual: Field required",
        ),
        (written()[0].model_dump_json().encode() + b"\nnonsense\n", "line 2, is no pair"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path, content, message):
    path = tmp_path / "pairs.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_pairs(path)
