from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codlocal.core.records import CounterfactualPair, Example
from codlocal.distillation.composition import _balancing, baseline_set, full_set, paired_set


def _originals(k: int, classes: int = 2) -> list[Example]:
    return [Example(id=f"train-{i}", text=f"text {i}", label=i % classes) for i in range(k)]


def _pair(number: int, place: int, classes: int = 2) -> CounterfactualPair:
    return CounterfactualPair(
        example_id=f"train-{number}",
        candidate_id=f"train-{number}/{place}",
        text=f"text {number}",
        label=number % classes,
        counterfactual=f"other {place} of {number}",
        counterfactual_label=(number + 1) % classes,
        edit_distance=0.5,
        target_probability=0.9,
    )


def _pairs(numbers: set[int], each: int = 1, classes: int = 2):
    return {f"train-{i}": [_pair(i, place, classes) for place in range(each)] for i in numbers}


def _labels(texts) -> Counter[int]:
    numbers = [int(text.id.removeprefix("train-").split("/")[0]) for text in texts]
    flipped = [text.gold is None for text in texts]
    return Counter((one + flip) % 2 for one, flip in zip(numbers, flipped, strict=True))


@given(st.integers(1, 12), st.sets(st.integers(0, 23)), st.integers(1, 3))
def test_both_arms_have_k_texts_and_every_text_is_in_one_group(half, paired, each):
    originals = _originals(2 * half)
    found = paired_set(originals, _pairs(paired, each))
    assert len(found.texts) == len(baseline_set(originals).texts) == 2 * half
    assert sorted(i for group in found.groups for i in group) == list(range(2 * half))
    assert found.pairs == len({i for i in paired if i < half})
    assert found.pairs + found.singles == half
    assert found.fill == found.singles
    assert len({text.id for text in found.texts}) == 2 * half


def test_all_of_a_baselines_texts_fill_it():
    found = baseline_set(_originals(5))
    assert (found.pairs, found.singles, found.fill) == (0, 0, 5)


def test_of_several_pairs_of_a_text_the_first_is_taken():
    found = {text.id for text in paired_set(_originals(2), _pairs({0}, 3)).texts}
    assert "train-0/0" in found
    assert not found & {"train-0/1", "train-0/2"}


def test_of_an_odd_k_the_smaller_half_is_flipped():
    found = paired_set(_originals(7), _pairs(set(range(7))))
    assert (len(found.texts), found.pairs, found.singles) == (7, 3, 0)


@given(st.integers(1, 10), st.sets(st.integers(0, 19)))
def test_the_fill_leaves_the_classes_as_even_as_they_can_be(quarter: int, paired: set[int]):
    half = 2 * quarter
    found = paired_set(_originals(2 * half), _pairs(paired))
    # A class lacks at most half/2 texts, and as many of the spare ones are of that class.
    assert _labels(found.texts) == {0: half, 1: half}


def test_where_flips_of_one_class_fail_texts_of_the_other_fill_up():
    # Only positives (odd) were flipped: negatives are plenty, so that positives fill up.
    found = paired_set(_originals(8), _pairs({1, 3}))
    assert [text.id for text in found.texts] == [
        "train-0", "train-1", "train-1/0", "train-2", "train-3", "train-3/0", "train-5", "train-7",
    ]  # fmt: skip
    assert found.groups == ((0,), (1, 2), (3,), (4, 5), (6,), (7,))
    assert (found.pairs, found.singles, found.fill) == (2, 2, 2)
    assert [text.gold for text in found.texts] == [0, 1, None, 0, 1, None, 1, 1]


def test_without_any_pair_the_student_sees_the_baselines_texts():
    for classes in (2, 3, 5):
        originals = _originals(8, classes)
        assert paired_set(originals, {}).texts == baseline_set(originals).texts


@pytest.mark.parametrize("each", [1, 3])
def test_the_full_budget_is_all_originals_and_all_their_counterfactuals(each: int):
    found = full_set(_originals(4), _pairs({0, 3}, each), largest=8)
    assert [text.id for text in found.texts if text.gold is not None] == [
        f"train-{i}" for i in range(4)
    ]
    assert (found.pairs, found.singles, found.fill) == (2 * each, 2, 0)
    assert [len(group) for group in found.groups] == [1 + each, 1, 1, 1 + each]
    for group in found.groups:
        first, *others = (found.texts[index].id for index in group)
        assert all(other.startswith(f"{first}/") for other in others)


@pytest.mark.parametrize("largest", [2, 3, 8])
def test_a_full_set_splits_groups_that_no_batch_can_hold(largest: int):
    found = full_set(_originals(4), _pairs({0, 3}, 4), largest)
    assert max(map(len, found.groups)) <= largest
    assert sorted(at for group in found.groups for at in group) == list(range(len(found.texts)))
    assert found.families == full_set(_originals(4), _pairs({0, 3}, 4), 8).groups


@given(st.lists(st.integers(0, 3), min_size=1, max_size=20), st.lists(st.integers(0, 4)), st.data())
def test_the_rarest_class_is_taken_first_and_of_it_the_first_text(classes, labels, data):
    others = [Example(id=f"o-{n}", text=f"text {n}", label=one) for n, one in enumerate(classes)]
    count = data.draw(st.integers(0, len(others)))
    counts, left = Counter(labels), list(others)
    for _ in range(count):
        rarest = min(left, key=lambda one: counts[one.label])
        counts[rarest.label] += 1
        left.remove(rarest)
    assert _balancing(others, labels, count) == [one for one in others if one not in left]
