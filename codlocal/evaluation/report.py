"""The results of a run, read back and drawn as a table."""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self

from pydantic import BaseModel, Field, model_validator
from rich.markup import escape
from rich.table import Table

from codlocal.core.errors import RunError
from codlocal.core.records import Metrics
from codlocal.core.run import RunFolder
from codlocal.evaluation.summary import OVER_SEEDS

_SHOWN = {
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "matthews": "Matthews",
    "teacher_agreement": "agreement",
}
"""The figures that get a column each; `metrics.json` has all."""

_ROWS = ("teacher", "student", "baseline")

_Bounds = tuple[float, float] | None


class _WithoutNulls(BaseModel):
    """What may be absent, but not null."""

    @model_validator(mode="before")
    @classmethod
    def _no_null(cls, data: object) -> object:
        if isinstance(data, dict) and None in data.values():
            raise ValueError("a part is null")
        return data


class _Difference(BaseModel):
    mean: float
    interval: _Bounds


class _Differences(BaseModel):
    teacher_agreement: _Difference


class _OfArm(BaseModel):
    accuracy: _Bounds = None
    macro_f1: _Bounds = None
    matthews: _Bounds = None
    teacher_agreement: _Bounds


class _Intervals(_WithoutNulls):
    student: _OfArm
    baseline: _OfArm | None = None
    difference: _Differences | None = None


class _Dataset(BaseModel):
    name: str
    source: str
    k: int


class _Written(_WithoutNulls):
    """What every `metrics.json` has."""

    dataset: _Dataset
    seeds: Annotated[list[int], Field(min_length=1)]
    teacher: Metrics
    student: Metrics
    baseline: Metrics | None = None
    per_seed: dict[str, list[dict[str, Any]]]
    interval_kind: str
    interval_level: float
    intervals: _Intervals

    @model_validator(mode="after")
    def _all_arms_have_all_parts(self) -> Self:
        arms = [one for one in (self.student, self.baseline) if one]
        near = [one.boundary_agreement for one in arms if self.student.boundary_n]
        alone = {self.baseline is None, self.intervals.baseline is None}
        if None in near or len(alone) > 1:
            raise ValueError("a figure is missing")
        return self


def read_metrics(run: RunFolder) -> dict[str, Any]:
    """The content of `metrics.json`.

    Raises:
        RunError: it is missing or damaged.

    """
    path = run.file("metrics.json")
    try:
        content = path.read_bytes()
        _Written.model_validate_json(content)
        metrics: dict[str, Any] = json.loads(content)
    except (OSError, ValueError) as error:
        raise RunError(
            f"{path} is missing or damaged.", "Add --redo evaluate to compute it again."
        ) from error
    return metrics


def table(metrics: Mapping[str, Any]) -> Table:
    """Draw the content of `metrics.json`: one row each for teacher, student and baseline.

    Over seeds an interval is `± half its width`; over test texts, where it is lopsided, it is
    `[low, high]`. The caption says which, and how far the student is ahead of the baseline.
    """
    data = metrics["dataset"]
    drawn = Table(title=escape(f"{data['name']} ({data['source']}), k = {data['k']}"))
    drawn.add_column("")
    for heading in (*_SHOWN.values(), "n"):
        drawn.add_column(heading, justify="right")
    for row in _ROWS:
        if row in metrics:
            bounds = metrics["intervals"].get(row, {})
            cells = [_cell(metrics, metrics[row][name], bounds.get(name)) for name in _SHOWN]
            drawn.add_row(row, *cells, str(metrics[row]["n"]))
    drawn.caption = caption(metrics)
    return drawn


def agreement(metrics: Mapping[str, Any], arm: str = "student") -> str:
    """The agreement of an arm's students with the teacher, and its interval."""
    bounds = metrics["intervals"][arm]["teacher_agreement"]
    return _cell(metrics, metrics[arm]["teacher_agreement"], bounds)


def caption(metrics: Mapping[str, Any]) -> str:
    """Say in words what the intervals are, how student and baseline differ, what else counts."""
    count = len(metrics["seeds"])
    seeds = f"{count} seed{'s' if count > 1 else ''}"
    lines = [f"{metrics['interval_level']:.0%} intervals: {metrics['interval_kind']}; {seeds}"]
    if "difference" in metrics["intervals"]:
        found = metrics["intervals"]["difference"]["teacher_agreement"]
        lines.append(f"student - baseline, agreement: {found['mean']:+.3f} {_sureness(found)}")
    if texts := metrics["student"]["boundary_n"]:
        what = f"agreement on {texts} text{'s' if texts > 1 else ''} near the boundary"
        lines.append(_by_row(metrics, "boundary_agreement", what, _ROWS[1:]))
    lines.append(_by_row(metrics, "calibration_error", "expected calibration error", _ROWS))
    return "\n".join(lines)


def _by_row(metrics: Mapping[str, Any], name: str, heading: str, rows: Sequence[str]) -> str:
    figures = [f"{row} {metrics[row][name]:.3f}" for row in rows if row in metrics]
    return f"{heading}: {', '.join(figures)}"


def _sureness(difference: Mapping[str, Any]) -> str:
    if difference["interval"] is None:
        return "(no interval from one seed)"
    low, high = difference["interval"]
    verdict = ", which includes 0" if low <= 0 <= high else ""
    return f"({low:+.3f} to {high:+.3f}{verdict})"


def _cell(metrics: Mapping[str, Any], value: float, bounds: list[float] | None) -> str:
    if bounds is None:
        return f"{value:.3f}"
    low, high = bounds
    if metrics["interval_kind"] == OVER_SEEDS:
        return f"{value:.3f} ±{(high - low) / 2:.3f}"
    return f"{value:.3f}\n[{low:.3f}, {high:.3f}]"  # in one line it is too wide for 80 columns
