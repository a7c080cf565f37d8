from hypothesis import given
from hypothesis import strategies as st

from codlocal.core.records import CounterfactualPair, Example
from codlocal.distillation.composition import baseline_set, paired_set


def _originals(k: int) -> list[Example]:
    return [Example(id=f"train-{i}", text=f"text {i}", label=i % 2) for i in range(k)]


def _pairs(numbers: set[int]) -> dict[str, CounterfactualPair]:
    return {
        f"train-{i}": CounterfactualPair(
            example_id=f"train-{i}",
            candidate_id=f"train-{i}/0",
            text=f"text {i}",
            label=i % 2,
            counterfactual=f"other {i}",
            counterfactual_label=1 - i % 2,
            edit_distance=0.5,
            target_probability=0.9,
        )
        for i in numbers
    }


@given(st.integers(1, 12), st.sets(st.integers(0, 23)))
def test_both_arms_have_k_texts_and_every_text_is_in_one_group(half: int, paired: set[int]):
    originals = _originals(2 * half)
    found = paired_set(originals, _pairs(paired))
    assert len(found.texts) == len(baseline_set(originals).texts) == 2 * half
    assert sorted(i for group in found.groups for i in group) == list(range(2 * half))
    assert found.pairs == len({i for i in paired if i < half})
    assert found.pairs + found.singles == half
    assert found.fill == found.singles
    assert len({text.id for text in found.texts}) == 2 * half


def test_a_missing_counterfactual_gives_its_place_to_the_next_original():
    found = paired_set(_originals(6), _pairs({0, 2, 4}))
    assert [text.id for text in found.texts] == [
        "train-0",
        "train-0/0",
        "train-1",
        "train-2",
        "train-2/0",
        "train-3",
    ]
    assert found.groups == ((0, 1), (2,), (3, 4), (5,))
    assert [text.gold for text in found.texts] == [0, None, 1, 0, None, 1]


def test_without_any_pair_the_student_sees_the_baselines_texts():
    originals = _originals(8)
    assert paired_set(originals, {}).texts == baseline_set(originals).texts
