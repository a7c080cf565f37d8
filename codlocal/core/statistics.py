"""Confidence intervals: over seeds where there are several, over texts where there is one run."""

import warnings
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

LEVEL = 0.95
"""The confidence level of every interval in a report."""

Interval = tuple[float, float]
Values = npt.NDArray[np.float64]

_RESAMPLES = 1999
_NUMBERS_AT_ONCE = 2_000_000
"""Drawn at once: 16 MB."""
_MOST_UNKNOWN = 0.05
"""The share of draws that may give no number: they are left out."""


def interval(values: Sequence[float]) -> Interval:
    """Student's t interval for the mean of values from independent seeds, one each.

    Raises:
        ValueError: there are fewer than two values.

    """
    if len(values) < 2:
        raise ValueError("an interval over seeds needs at least two seeds")
    from scipy import stats

    centre = float(np.mean(values))
    error = float(np.std(values, ddof=1)) / len(values) ** 0.5
    reach = float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1)) * error
    return centre - reach, centre + reach


def paired_interval(first: Sequence[float], second: Sequence[float]) -> Interval:
    """Student's t interval for the mean of `first` minus `second`, seed by seed.

    Pairing removes what both arms owe to the draw of a seed's texts.

    Raises:
        ValueError: the lengths differ, or there are fewer than two pairs.

    """
    return interval([one - other for one, other in zip(first, second, strict=True)])


def wilson(part: int, whole: int) -> Interval:
    """Wilson's score interval for the share `part` of `whole` independent texts (JASA 1927).

    Args:
        part: how many of the texts count, from 0.
        whole: how many texts there are, from 1.

    """
    from scipy import stats

    found = stats.binomtest(part, whole).proportion_ci(confidence_level=LEVEL, method="wilson")
    return float(found.low), float(found.high)


def resampled(statistic: Callable[[Values], Values], values: Values) -> Interval | None:
    """Percentile bootstrap interval (Efron 1979): independent texts are drawn anew, from seed 0.

    Args:
        statistic: from values [draws, n, m] to [draws].
        values: [n, m], m numbers of each of n texts.

    Returns:
        None where the draws don't show how far the statistic may be off: of fewer than two texts,
        where all draws give the same, or where too many of them give no number.

    """
    if len(values) < 2:
        return None
    from scipy import stats

    with np.errstate(divide="ignore", invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        draws = stats.bootstrap(
            (np.arange(len(values)),),
            lambda drawn, axis: statistic(values[drawn]),
            vectorized=True,
            n_resamples=_RESAMPLES,
            batch=max(_NUMBERS_AT_ONCE // values.size, 1),
            method="percentile",
            random_state=np.random.default_rng(0),
        ).bootstrap_distribution
        known = draws[~np.isnan(draws)]
        if len(known) < (1 - _MOST_UNKNOWN) * len(draws):
            return None
        outside = (1 - LEVEL) / 2
        low, high = map(float, np.quantile(known, [outside, 1 - outside]))
    return (low, high) if np.isfinite([low, high]).all() and low < high else None


def class_gap(probabilities: Values) -> Values:
    """How far the two likeliest classes are apart, [n, classes] to [n]; 0 is on the boundary."""
    second, first = np.sort(probabilities, axis=1)[:, -2:].T
    gap: Values = first - second
    return gap
