from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codlocal.distillation.batches import pair_batches

sizes = st.lists(st.integers(1, 2), min_size=1, max_size=30)


def _groups(lengths: list[int]) -> list[list[int]]:
    indices = iter(range(sum(lengths)))
    return [list(islice(indices, length)) for length in lengths]


def _epochs(groups: list[list[int]], batches: list[list[int]]) -> list[list[list[int]]]:
    total = sum(map(len, groups))
    epochs: list[list[list[int]]] = [[]]
    for batch in batches:
        if sum(map(len, epochs[-1])) == total:
            epochs.append([])
        epochs[-1].append(batch)
    return epochs


@given(sizes, st.integers(2, 9), st.integers(0, 40), st.integers(0, 5))
def test_batches_are_as_many_and_as_large_as_asked(lengths, batch_size, steps, seed):
    batches = list(pair_batches(_groups(lengths), batch_size, steps, seed))
    assert len(batches) == steps
    assert all(0 < len(batch) <= batch_size for batch in batches)


@given(sizes, st.integers(2, 9), st.integers(0, 5))
def test_pairs_are_never_torn_and_every_epoch_has_every_text_once(lengths, batch_size, seed):
    groups = _groups(lengths)
    batches = list(pair_batches(groups, batch_size, 40, seed))
    for group in groups:
        for batch in batches:
            assert set(group) <= set(batch) or not set(group) & set(batch)
    for epoch in _epochs(groups, batches)[:-1]:
        assert sorted(index for batch in epoch for index in batch) == list(range(sum(lengths)))


@given(sizes, st.integers(2, 9), st.integers(0, 5))
def test_a_batch_is_short_only_where_nothing_left_fits(lengths, batch_size, seed):
    groups = _groups(lengths)
    epoch = _epochs(groups, list(pair_batches(groups, batch_size, 40, seed)))[0]
    singles = {group[0] for group in groups if len(group) == 1}
    for number, batch in enumerate(epoch[:-1]):
        later = {index for one in epoch[number + 1 :] for index in one}
        assert len(batch) == batch_size or not singles & later


def test_batches_depend_on_the_seed_and_the_epoch_alone():
    groups = _groups([2, 1] * 8)
    first = list(pair_batches(groups, 8, 12, seed=1))
    assert first == list(pair_batches(groups, 8, 12, seed=1))
    assert first == list(pair_batches(groups, 8, 30, seed=1))[:12]
    assert first != list(pair_batches(groups, 8, 12, seed=2))
    assert first[:3] != first[3:6]


@pytest.mark.parametrize("groups", [[], [[0, 1, 2]]])
def test_groups_that_fit_no_batch_are_refused(groups):
    with pytest.raises(ValueError, match="do not fit"):
        next(pair_batches(groups, 2, 1, 0))
