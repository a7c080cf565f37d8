"""Confidence intervals: over seeds where there are several, over texts where there is one."""

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


def wilson(part: int, whole: int, level: float = LEVEL) -> Interval:
    """Wilson's score interval for the share `part` of `whole` independent texts (JASA 1927).

    Args:
        part: how many of the texts count, from 0.
        whole: how many texts there are, from 1.
        level: the confidence level, between 0 and 1.

    """
    from scipy import stats

    found = stats.binomtest(part, whole).proportion_ci(confidence_level=level, method="wilson")
    return float(found.low), float(found.high)
