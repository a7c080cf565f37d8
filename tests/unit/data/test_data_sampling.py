from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codlocal.core.errors import DataError
from codlocal.core.records import Example
from codlocal.data.sampling import few_shot, few_shots


def examples_of(counts):
    return [
        Example(id=f"train-{label}-{row}", text=f"text {label} {row}", label=label)
        for label, count in enumerate(counts)
        for row in range(count)
    ]


def names_of(counts):
    return [f"class{label}" for label in range(len(counts))]


def draw(counts, k, seed):
    return few_shot(examples_of(counts), k, seed, names_of(counts)).ids


counts_of_classes = st.lists(st.integers(20, 40), min_size=2, max_size=5)


def test_a_rare_label_that_is_like_another_may_be_a_slip():
    for name, is_one in (("Technix", True), ("Sonstiges", False)):
        with pytest.raises(DataError) as caught:
            few_shot(examples_of([50, 1]), 8, 0, ["Technik", name])
        assert ("slip for 'Technik'" in caught.value.hint) == is_one
    with pytest.raises(DataError) as caught:
        few_shot(examples_of([50, 3]), 8, 0, ["Technik", "Technix"])
    assert "slip" not in caught.value.hint


@settings(deadline=None)
@given(counts_of_classes, st.integers(0, 10_000), st.integers(1, 20), st.integers(1, 20))
def test_smaller_draws_are_prefixes_of_larger_ones(counts, seed, one, other):
    small, large = sorted((2 * one, 2 * other))
    assert draw(counts, large, seed)[:small] == draw(counts, small, seed)


def test_counterfactuals_for_the_largest_k_serve_a_whole_sweep():
    sizes, seeds = (8, 12, 16, 24, 32, 40), range(5)
    halves = {(k, seed): draw([40, 40], k, seed)[: k // 2] for k in sizes for seed in seeds}
    asked = {seed: set(halves[max(sizes), seed]) for seed in seeds}
    assert all(set(half) <= asked[seed] for (_, seed), half in halves.items())


@settings(deadline=None)
@given(counts_of_classes, st.integers(0, 10_000))
def test_every_prefix_is_balanced_and_no_text_comes_twice(counts, seed):
    ids = draw(counts, 40, seed)
    assert len(set(ids)) == 40
    for end in range(1, 41):
        seen = Counter(one.split("-")[1] for one in ids[:end])
        per_class = [seen[str(label)] for label in range(len(counts))]
        assert max(per_class) - min(per_class) <= 1


@settings(deadline=None)
@given(st.permutations(range(12)), st.integers(0, 100))
def test_the_order_of_the_examples_does_not_matter(order, seed):
    rows = examples_of([6, 6])
    names = names_of([6, 6])
    shuffled = [rows[place] for place in order]
    assert few_shot(shuffled, 8, seed, names) == few_shot(rows, 8, seed, names)


def test_seeds_differ_and_the_draw_is_the_same_in_every_version():
    assert draw([50, 50], 8, 0) != draw([50, 50], 8, 1)
    assert {draw([50, 50], 2, seed)[0].split("-")[1] for seed in range(20)} == {"0", "1"}
    assert few_shot(examples_of([5, 5]), 4, 7, ["a", "b"]).seed == 7
    assert draw([5, 5], 4, 7) == draw([5, 5], 4, 7)


def test_a_short_class_is_named_with_the_largest_k():
    for seed in range(10):
        with pytest.raises(DataError, match="the class 'class1' has only 3 ") as caught:
            draw([50, 3], 8, seed)
        assert "largest possible k is 6" in caught.value.hint
        assert len(draw([50, 3], 6, seed)) == 6


@settings(deadline=None)
@given(st.lists(st.integers(0, 6), min_size=2, max_size=4), st.integers(0, 50))
def test_the_largest_k_in_the_hint_is_right(counts, seed):
    with pytest.raises(DataError) as caught:
        draw(counts, 100, seed)
    if "largest possible" not in caught.value.hint:
        with pytest.raises(DataError):
            draw(counts, 2, seed)
        return
    largest = int(caught.value.hint.split("k is ")[1].split(":")[0])
    assert len(draw(counts, largest, seed)) == largest
    with pytest.raises(DataError):
        draw(counts, largest + 2, seed)


def test_a_class_without_texts_can_not_be_drawn():
    with pytest.raises(DataError, match="class 'class0' has no training text") as caught:
        draw([0, 5], 2, 0)
    assert caught.value.hint.startswith("Give at least one training text of each class")


def test_the_largest_k_in_the_hint_suits_every_seed():
    counts, seeds = [1, *[9] * 19], range(8)
    rows, names = examples_of(counts), names_of(counts)
    with pytest.raises(DataError, match="'class0' has only one training text") as caught:
        few_shots(rows, 40, seeds, names)
    largest = int(caught.value.hint.split("k is ")[1].split(":")[0])
    drawn = few_shots(rows, largest, seeds, names)
    assert drawn == [few_shot(rows, largest, seed, names) for seed in seeds]
    with pytest.raises(DataError, match="can't be drawn"):
        few_shots(rows, largest + 2, seeds, names)
