"""Confidence intervals: over seeds where there are several, over test texts where there is one."""

from collections.abc import Sequence

import numpy as np

LEVEL = 0.95
"""The confidence level of every interval in a report."""

Interval = tuple[float, float]


def interval(values: Sequence[float], level: float = LEVEL) -> Interval:
    """Student's t interval for the mean of values from independent seeds.

    Args:
        values: one value per seed, at least two.
        level: the confidence level, between 0 and 1.

    Raises:
        ValueError: there are fewer than two values.

    """
    if len(values) < 2:
        raise ValueError("an interval over seeds needs at least two seeds")
    from scipy import stats

    centre = float(np.mean(values))
    error = float(np.std(values, ddof=1)) / len(values) ** 0.5
    reach = float(stats.t.ppf((1 + level) / 2, len(values) - 1)) * error
    return centre - reach, centre + reach


def paired_interval(
    first: Sequence[float], second: Sequence[float], level: float = LEVEL
) -> Interval:
    """Student's t interval for the mean of `first` minus `second`, seed by seed.

    Pairing removes what both arms owe to the draw of a seed's texts.

    Raises:
        ValueError: the lengths differ, or there are fewer than two pairs.

    """
    return interval([one - other for one, other in zip(first, second, strict=True)], level)


def wilson(rate: float, n: int, level: float = LEVEL) -> Interval:
    """Wilson's score interval for a share of n independent texts (Wilson, JASA 1927).

    Args:
        rate: the observed share; `rate * n` is a whole number.
        n: the count of texts.
        level: the confidence level, between 0 and 1.

    """
    from scipy import stats

    test = stats.binomtest(round(rate * n), n)
    found = test.proportion_ci(confidence_level=level, method="wilson")
    return float(found.low), float(found.high)
