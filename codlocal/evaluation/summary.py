"""From the scores of every arm and seed to what `metrics.json` says."""

from collections.abc import Mapping, Sequence
from typing import Any

from codlocal.core.records import DatasetSpec, Metrics
from codlocal.core.statistics import LEVEL, interval, paired_interval, wilson
from codlocal.evaluation.metrics import MEASURES, column, mean

OVER_SEEDS = "student t over seeds"
OVER_TEXTS = "wilson over test texts"

Scores = Mapping[str, Sequence[Metrics]]
"""The scores of each arm, in the order of the seeds."""


def summarise(
    scores: Scores, teacher: Metrics, seeds: Sequence[int], dataset: Mapping[str, Any]
) -> dict[str, Any]:
    """The content of `metrics.json`.

    Each arm and the teacher have the fields of `Metrics`, as means over the seeds. Intervals
    are [low, high] at level 0.95, or None where there can be none. "baseline" and the
    "difference" (student minus baseline, paired by seed) are absent without a baseline.
    """
    several = len(seeds) > 1
    intervals: dict[str, Any] = {arm: _intervals(rows) for arm, rows in scores.items()}
    if "baseline" in scores:
        intervals["difference"] = _differences(scores["student"], scores["baseline"])
    return {
        **{arm: mean(rows).model_dump() for arm, rows in scores.items()},
        "teacher": teacher.model_dump(),
        "seeds": list(seeds),
        "per_seed": {
            arm: [{"seed": seed, **row.model_dump()} for seed, row in zip(seeds, rows, strict=True)]
            for arm, rows in scores.items()
        },
        "interval_kind": OVER_SEEDS if several else OVER_TEXTS,
        "interval_level": LEVEL,
        "intervals": intervals,
        "dataset": dict(dataset),
    }


def describe(spec: DatasetSpec, k: int) -> dict[str, Any]:
    """What `metrics.json` says of the dataset: enough to know what the figures are about."""
    fields = {"name", "source", "location", "label_names", "train_rows", "test_rows", "sha256"}
    return {**spec.model_dump(mode="json", include=fields), "k": k}


def _intervals(scores: Sequence[Metrics]) -> dict[str, list[float] | None]:
    if len(scores) > 1:
        columns = {name: column(scores, name) for name in MEASURES}
        return {name: list(interval(it)) if it else None for name, it in columns.items()}
    only = scores[0]
    # Wilson's interval is for shares of independent texts; the other figures are none.
    shares = {
        "accuracy": only.n,
        "teacher_agreement": only.n,
        "boundary_agreement": only.boundary_n,
    }
    bounds: dict[str, list[float] | None] = dict.fromkeys(MEASURES)
    for name, n in shares.items():
        if n:
            bounds[name] = list(wilson(round(getattr(only, name) * n), n))
    return bounds


def _differences(student: Sequence[Metrics], baseline: Sequence[Metrics]) -> dict[str, Any]:
    columns = {name: (column(student, name), column(baseline, name)) for name in MEASURES}
    return {name: difference(*pair) if pair[0] else None for name, pair in columns.items()}


def difference(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, Any]:
    """The mean of `ours` minus `theirs`, paired by seed; its interval is None for one seed."""
    mean_gap = sum(ours) / len(ours) - sum(theirs) / len(theirs)
    return {
        "mean": round(mean_gap, 12) + 0.0,  # a tie is 0, not the -0.0 or -1e-17 of a sum's order
        "interval": list(paired_interval(ours, theirs)) if len(ours) > 1 else None,
    }
