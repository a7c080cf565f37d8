"""The results of sweeps as curves over k: means, intervals over seeds, and paired differences."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from codlocal.core.errors import RunError
from codlocal.core.statistics import Interval, interval
from codlocal.evaluation.results import CellResult
from codlocal.evaluation.summary import difference

_OF_COUNTERFACTUALS = ("generator", "verification")
_SAME = 1e-9
"""Differences are the same but for rounding."""


@dataclass(frozen=True)
class Point:
    """The mean of a figure over the seeds at one k, and half of its interval: None for one seed."""

    k: int
    mean: float
    half: float | None

    def __str__(self) -> str:
        return f"{self.mean:.3f}" if self.half is None else f"{self.mean:.3f} ±{self.half:.3f}"


def over_seeds(k: int, values: Sequence[float]) -> Point | None:
    """The point of a figure's values at k; None without any."""
    if not values:
        return None
    if len(values) == 1:
        return Point(k, values[0], None)
    low, high = interval(values)
    return Point(k, (low + high) / 2, (high - low) / 2)


@dataclass(frozen=True)
class Series:
    """One arm under one setting, over k and seeds.

    Attributes:
        dataset: the dataset's name.
        method: the objective.
        setting: further settings that it shares with its neighbours, in words; may be empty.
        arm: the arm's name, with the generator and its settings where the sweep has several.
        rows: the results, failed ones included.

    """

    dataset: str
    method: str
    setting: str
    arm: str
    rows: list[CellResult] = field(default_factory=list)

    @property
    def panel(self) -> tuple[str, str, str]:
        """What the series of one figure have in common."""
        return self.dataset, self.method, self.setting

    @property
    def sizes(self) -> list[int]:
        """Every k with a result."""
        return sorted({row.k for row in self.rows if row.metrics is not None})

    def values(self, measure: str, k: int) -> dict[int, float]:
        """A figure by seed: a field of `Metrics` or of `SetFacts`."""
        found: dict[int, float] = {}
        for row in self.rows:
            for part in (row.metrics, row.facts):
                value = getattr(part, measure, None)
                if row.k == k and value is not None:
                    found[row.seed] = float(value)
        return dict(sorted(found.items()))

    def point(self, measure: str, k: int) -> Point | None:
        """The mean of a figure at k; None where there is no result."""
        return over_seeds(k, list(self.values(measure, k).values()))

    def curve(self, measure: str) -> list[Point]:
        """The points of a figure over all k."""
        return [point for k in self.sizes if (point := self.point(measure, k)) is not None]


def by_arm(rows: Iterable[CellResult]) -> list[Series]:
    """Bring rows together that differ in k and seed only, in the order in which they come.

    Raises:
        RunError: two rows would be the same point and are not equal cells, or points of one curve
            and differ in more than k and the seed.

    """
    series = _series(list(rows))
    for _, other in _mixed(series):
        raise RunError(
            f"There are unequal cells under one name ({place_of(other)}).",
            "Give each dataset a `name` of its own, and make what differs an axis in [vary].",
        )
    return series


def mixed(rows: Sequence[CellResult]) -> list[tuple[CellResult, CellResult]]:
    """Rows that would be one point and are no equal cells, or one curve and differ otherwise."""
    return list(_mixed(_series(rows)))


def place_of(row: CellResult) -> str:
    """Which cell a row is of, in words."""
    return f"{row.dataset}, {row.method}, {row.arm}, k = {row.k}, seed {row.seed}"


def _mixed(series: Iterable[Series]) -> Iterator[tuple[CellResult, CellResult]]:
    for one in series:
        seen: dict[tuple[int, int], CellResult] = {}
        for row in one.rows:
            first = seen.setdefault((row.k, row.seed), row)
            if first.key != row.key:
                yield first, row
            elif row.curve != one.rows[0].curve:
                yield one.rows[0], row


def _series(everything: Sequence[CellResult]) -> list[Series]:
    several = len({row.generator for row in everything if row.generator}) > 1
    found: dict[tuple[str, str, str, str], Series] = {}
    for row in everything:
        own = {axis: value for axis, value in row.settings.items() if of_counterfactuals(axis)}
        shared = {axis: value for axis, value in row.settings.items() if axis not in own}
        words = [row.generator] if several and row.generator else []
        words += [_words({axis: it}) for axis, it in own.items() if it is not None]
        arm = f"{row.arm} ({', '.join(words)})" if words else row.arm
        key = (row.dataset, row.method, _words(shared), arm)
        found.setdefault(key, Series(*key)).rows.append(row)
    return list(found.values())


def of_counterfactuals(axis: str) -> bool:
    """Whether a setting, or a section, is one of how counterfactuals are made."""
    return axis.split(".")[0] in _OF_COUNTERFACTUALS


def _words(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{_name(axis)} {value}" for axis, value in settings.items())


def _name(axis: str) -> str:
    section, _, name = axis.partition(".")
    return f"teacher {name}" if section == "teacher" else name  # students have some of one name


def panel_title(panel: tuple[str, str, str]) -> str:
    """What the series of one figure have in common, in words."""
    return ", ".join(part for part in panel if part)


def panels(series: Iterable[Series]) -> dict[tuple[str, str, str], list[Series]]:
    """The series by the figure that they belong to."""
    found: dict[tuple[str, str, str], list[Series]] = {}
    for one in series:
        found.setdefault(one.panel, []).append(one)
    return found


@dataclass(frozen=True)
class Difference:
    """A series minus another at one k, paired by seed; None for an interval from one seed."""

    panel: tuple[str, str, str]
    series: str
    other: str
    k: int
    mean: float
    interval: Interval | None
    worse_seeds: tuple[int, ...]

    @property
    def verdict(self) -> str:
        """Whether the series is ahead, behind, or neither beyond the interval.

        Seeds of one and the same difference don't show how far its mean may be off.
        """
        low, high = self.interval or (0.0, 0.0)
        if high - low < _SAME or low <= 0 <= high:
            return "open"
        return "ahead" if low > 0 else "behind"

    def __str__(self) -> str:
        if self.interval is None:
            return f"{self.mean:+.3f} (one seed)"
        low, high = self.interval
        return f"{self.mean:+.3f} ({low:+.3f} to {high:+.3f})"


def compare(one: Series, other: Series, measure: str) -> list[Difference]:
    """How far a series is above another at every k that both have, over their common seeds."""
    found = []
    for k in one.sizes:
        ours, theirs = one.values(measure, k), other.values(measure, k)
        seeds = [seed for seed in ours if seed in theirs]
        if not seeds:
            continue
        gap = difference([ours[seed] for seed in seeds], [theirs[seed] for seed in seeds])
        worse = tuple(seed for seed in seeds if ours[seed] < theirs[seed])
        bounds = tuple(gap["interval"]) if gap["interval"] else None
        found.append(Difference(one.panel, one.arm, other.arm, k, gap["mean"], bounds, worse))
    return found
