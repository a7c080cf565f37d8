"""How far the measures of a run may be off, as another draw of originals would have others.

The candidates of one original are alike, the more so as a hard one gets more of them. So originals
are drawn anew, each with all that came of it; candidates taken for independent would make the
intervals too narrow.
"""

from collections.abc import Sequence, Set
from itertools import zip_longest

import numpy as np

from codlocal.core.records import Candidate
from codlocal.core.statistics import Interval, Values, resampled, wilson
from codlocal.verification.choice import Evidence
from codlocal.verification.measures import CLOSENESS, tokens_spent


def intervals(evidence: Evidence, chosen: Set[str]) -> dict[str, Interval | None]:
    """95% intervals of what a run's measures say of all its candidates and of its pairs.

    `paired_rate` is the share of originals with a pair, by Wilson; the others are named as in
    `Measures` and `Closeness`, by drawing originals anew. Where all candidates flip, or none, every
    draw is alike: then `flip_rate` is Wilson's, too, as if the candidates of each original were
    one.

    None where there can be no interval: a draw with repeated texts is less diverse than any
    sample, and no row has the seconds of one original.

    Args:
        evidence: what is known of the candidates.
        chosen: ids of the candidates that became pairs.

    """
    rows: dict[str, list[Candidate]] = {one: [] for one in evidence.originals}
    for row in evidence.candidates.values():
        rows[row.example_id].append(row)
    pairs = [[row for row in found if row.id in chosen] for found in rows.values()]
    paired = [found for found in pairs if found]
    counts = np.array([_counts(found, evidence, chosen) for found in rows.values()], float)
    return {
        "flip_rate": _of_flips(counts[:, :2]) if rows else None,
        "paired_rate": wilson(len(paired), len(rows)) if rows else None,
        **{name: _of_median(name, paired, evidence) for name in CLOSENESS},
        "diversity": None,
        "tokens_per_pair": resampled(_ratio, counts[:, 2:]) if rows else None,
        "seconds_per_pair": None,
    }


def _counts(rows: Sequence[Candidate], evidence: Evidence, chosen: Set[str]) -> tuple[int, ...]:
    """Of one original: flips and candidates, tokens and pairs."""
    flips = sum(evidence.verdicts[row.id].flipped for row in rows if row.text is not None)
    pairs = sum(row.id in chosen for row in rows)
    return flips, len(rows), tokens_spent(rows, evidence), pairs


def _ratio(draws: Values) -> Values:
    part, whole = np.moveaxis(draws.sum(axis=-2), -1, 0)
    return np.asarray(part / whole)


def _of_flips(counts: Values) -> Interval | None:
    asked = int((counts[:, 1] > 0).sum())
    flips, candidates = counts.sum(axis=0)
    if asked and flips in (0, candidates):
        return wilson(asked if flips else 0, asked)
    return resampled(_ratio, counts)


def _of_median(
    name: str, paired: Sequence[Sequence[Candidate]], evidence: Evidence
) -> Interval | None:
    value = CLOSENESS[name]
    found = [
        [value(evidence.verdicts[row.id], evidence.originals[row.example_id]) for row in rows]
        for rows in paired
    ]
    values = np.array(list(zip_longest(*found)), float).T  # None, also in a gap, becomes NaN
    known = values[~np.isnan(values).all(axis=1)] if found else values
    return resampled(lambda draws: np.nanmedian(draws, axis=(-2, -1)), known)
