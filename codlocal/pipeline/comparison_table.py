"""The result of a comparison of generators as a table: one column each."""

from collections.abc import Callable, Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from codlocal.core.statistics import paired_interval, wilson
from codlocal.evaluation.report import agreement, caption

_NONE = "-"
Row = Mapping[str, Any]
"""One generator's entry of `comparison.json`."""


def table(result: Mapping[str, Any]) -> Table:
    """Draw the content of `comparison.json`, with 95% intervals where there can be any."""
    rows = result["generators"]
    drawn = Table(title="Generators on the same originals, budget and teacher")
    drawn.add_column("")
    for row in rows:
        drawn.add_column(escape(row["name"]), justify="right")
    for heading, cell in _LINES.items():
        drawn.add_row(heading, *(escape(cell(row)) for row in rows))
    if len(rows) > 1:
        drawn.add_row("  against the first", _NONE, *(_ahead(rows[0], row) for row in rows[1:]))
    drawn.caption = caption(rows[0]["metrics"]).splitlines()[0]
    return drawn


def _flips(row: Row) -> str:
    return f"{row['flips'] / row['candidates']:.0%}" if row["candidates"] else _NONE


def _solved(row: Row) -> str:
    low, high = wilson(row["solved"], row["originals"])
    return f"{row['solved']} of {row['originals']} [{low:.0%}, {high:.0%}]"


def _edit(row: Row) -> str:
    return _number(row["median_edit_distance"])


def _chosen(name: str) -> Callable[[Row], str]:
    """A median over the chosen flips, from the measures of the verify stage."""

    def cell(row: Row) -> str:
        measures = row["measures"] or {"total": {"chosen": {}}}
        return _number(measures["total"]["chosen"].get(name))

    return cell


def _per_pair(name: str) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        return f"{row[name] / row['pairs']:.0f}" if row["pairs"] else _NONE

    return cell


def _number(value: float | None) -> str:
    return _NONE if value is None else f"{value:.2f}"


def _agreement(arm: str) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        return agreement(row["metrics"], arm) if arm in row["metrics"] else _NONE

    return cell


def _ahead(first: Row, row: Row) -> str:
    """How far the students agree more with the teacher than those of the first generator."""
    ours, theirs = (
        [one["teacher_agreement"] for one in each["metrics"]["per_seed"]["student"]]
        for each in (row, first)
    )
    mean = sum(ours) / len(ours) - sum(theirs) / len(theirs)
    if len(ours) < 2:
        return f"{mean:+.3f}"
    low, high = paired_interval(ours, theirs)
    return f"{mean:+.3f} ±{(high - low) / 2:.3f}"


_LINES: Mapping[str, Callable[[Row], str]] = {
    "candidates": lambda row: str(row["candidates"]),
    "candidates that flip": _flips,
    "originals with a pair": _solved,
    "edited share of words, median": _edit,
    "distance to the boundary, median": _chosen("boundary_distance"),
    "perplexity / original's, median": _chosen("perplexity_ratio"),
    "diversity": _chosen("diversity"),
    "generated tokens per pair": _per_pair("completion_tokens"),
    "seconds per pair, server start included": _per_pair("seconds"),
    "agreement of the student": _agreement("student"),
    "agreement of the baseline": _agreement("baseline"),
}
