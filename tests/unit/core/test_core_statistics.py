import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codlocal.core.statistics import interval, paired_interval, resampled, wilson

T_975 = {1: 12.7062047, 2: 4.30265273, 4: 2.77644511}


@pytest.mark.parametrize("values", [[0.8, 0.9], [0.7, 0.8, 0.75], [0.1, 0.2, 0.3, 0.4, 0.6]])
def test_the_t_interval_agrees_with_the_printed_quantiles(values):
    n = len(values)
    centre = sum(values) / n
    variance = sum((value - centre) ** 2 for value in values) / (n - 1)
    reach = T_975[n - 1] * math.sqrt(variance / n)
    assert interval(values) == pytest.approx((centre - reach, centre + reach))


def test_equal_values_have_an_interval_of_no_width():
    assert interval([0.5, 0.5, 0.5]) == (0.5, 0.5)


@pytest.mark.parametrize("values", [[], [0.5]])
def test_fewer_than_two_seeds_have_no_interval(values):
    with pytest.raises(ValueError, match="two seeds"):
        interval(values)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=6))
def test_paired_differences_are_the_interval_of_differences(pairs):
    first, second = zip(*pairs, strict=True)
    low, high = paired_interval(first, second)
    assert low <= sum(a - b for a, b in pairs) / len(pairs) + 1e-9
    assert (low, high) == interval([a - b for a, b in pairs])


def test_pairing_needs_equal_lengths():
    with pytest.raises(ValueError, match="argument"):
        paired_interval([0.1, 0.2], [0.1])


@settings(deadline=None)
@given(st.integers(1, 400), st.data())
def test_wilson_agrees_with_its_formula(n, data):
    hits = data.draw(st.integers(0, n))
    p, z = hits / n, 1.959963985
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert wilson(hits, n) == pytest.approx((centre - reach, centre + reach), abs=1e-7)


def mean_of(draws):
    return draws.mean(axis=(-2, -1))


def ratio_of(draws):
    part, whole = np.moveaxis(draws.sum(axis=-2), -1, 0)
    return part / whole


def test_drawing_texts_anew_agrees_with_the_t_interval_of_a_mean():
    values = np.random.default_rng(1).normal(3.0, 1.0, (200, 1))
    assert resampled(mean_of, values) == pytest.approx(interval(values[:, 0]), abs=0.02)


def test_a_text_is_drawn_with_all_its_numbers():
    alike = np.repeat(np.random.default_rng(1).normal(3.0, 1.0, (50, 1)), 4, axis=1)
    assert resampled(mean_of, alike) == pytest.approx(resampled(mean_of, alike[:, :1]))


@pytest.mark.parametrize("values", [[], [[0.5]], [[0.5], [0.5]], [[0.0], [math.inf]]])
def test_where_draws_tell_nothing_there_is_no_interval(values):
    assert resampled(mean_of, np.array(values)) is None


@pytest.mark.parametrize(("known", "expected"), [(3, (1, 2)), (1, None), (0, None)])
def test_draws_that_give_no_number_are_left_out_if_they_are_few(known, expected):
    # Of 24 texts six have a number: one draw in a thousand has none of them; of two, one in eight.
    values = np.array([[1.0, 1.0], [4.0, 2.0]] * known + [[0.0, 0.0]] * (24 - 2 * known))
    assert resampled(ratio_of, values) == expected
