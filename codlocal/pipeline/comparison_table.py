"""The result of a comparison of generators as a table: one column each."""

from collections.abc import Callable, Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from codlocal.evaluation.report import agreement, caption

_NONE = "-"
Row = Mapping[str, Any]
"""One generator's entry of `comparison.json`."""
_INTERVALS = """\
of counterfactuals: bootstrap over originals; with a pair: wilson over originals
diversity and seconds are a whole run's and have none"""


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
        drawn.add_row("  against the first", _NONE, *map(_ahead, rows[1:]))
    drawn.caption = f"{caption(rows[0]['metrics']).splitlines()[0]}\n{_INTERVALS}"
    return drawn


def _flips(row: Row) -> str:
    if not row["candidates"]:
        return _NONE
    return f"{row['flips'] / row['candidates']:.0%}" + _interval(row, "flip_rate", _percent)


def _paired(row: Row) -> str:
    return f"{row['paired']} of {row['originals']}" + _interval(row, "paired_rate", _percent)


def _edit(row: Row) -> str:
    return _number(row["median_edit_distance"]) + _interval(row, "edit_distance", _number)


def _chosen(name: str) -> Callable[[Row], str]:
    """A median over the chosen flips, from the measures of the verify stage."""

    def cell(row: Row) -> str:
        return _number(row["measures"]["total"]["chosen"].get(name)) + _interval(row, name, _number)

    return cell


def _tokens(row: Row) -> str:
    return _per_pair(row, "completion_tokens") + _interval(row, "tokens_per_pair", _whole)


def _per_pair(row: Row, name: str) -> str:
    return _whole(row[name] / row["pairs"]) if row["pairs"] else _NONE


def _interval(row: Row, name: str, shown: Callable[[float], str]) -> str:
    """What follows a figure: its interval, if it has one."""
    bounds = row["intervals"][name]
    return "" if bounds is None else f" [{shown(bounds[0])}, {shown(bounds[1])}]"


def _percent(share: float) -> str:
    return f"{share:.0%}"


def _whole(value: float) -> str:
    return f"{value:.0f}"


def _number(value: float | None) -> str:
    return _NONE if value is None else f"{value:.2f}"


def _agreement(arm: str) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        return agreement(row["metrics"], arm) if arm in row["metrics"] else _NONE

    return cell


def _ahead(row: Row) -> str:
    """How far the students agree more with the teacher than those of the first generator."""
    found = row["against_first"]
    if found["interval"] is None:
        return f"{found['mean']:+.3f}"
    low, high = found["interval"]
    return f"{found['mean']:+.3f} ±{(high - low) / 2:.3f}"


_LINES: Mapping[str, Callable[[Row], str]] = {
    "candidates": lambda row: str(row["candidates"]),
    "candidates that flip": _flips,
    "originals with a pair": _paired,
    "edited share of words, median": _edit,
    "distance to the boundary, median": _chosen("boundary_distance"),
    "perplexity / original's, median": _chosen("perplexity_ratio"),
    "diversity": _chosen("diversity"),
    "generated tokens": lambda row: str(row["completion_tokens"]),
    "generated tokens per pair": _tokens,
    "seconds per pair, start included": lambda row: _per_pair(row, "seconds"),
    "agreement of the student": _agreement("student"),
    "agreement of the baseline": _agreement("baseline"),
}
