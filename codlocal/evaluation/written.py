"""The report of sweeps in Markdown: figures, the numbers behind them, and where it lost."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from codlocal.core import jsonl
from codlocal.core.errors import RunError
from codlocal.evaluation.comparison import Difference, Series, by_arm, compare, panel_title, panels
from codlocal.evaluation.figures import check_matplotlib, draw_panel
from codlocal.evaluation.published import published
from codlocal.evaluation.results import CellResult

REPORT = "report.md"
_MARKUP = re.compile(r"[\\`*<>\[\]|~&]|(?<!\w)_|_(?!\w)")
"""What Markdown or HTML may begin with in a line; a low line within a word is only that."""
_TITLE = "# Ablation"
_TABLES = {
    "teacher_agreement": "Agreement with the teacher",
    "accuracy": "Accuracy",
    "macro_f1": "Macro-F1",
    "matthews": "Matthews correlation",
    "boundary_agreement": "Agreement near the teacher's boundary",
    "calibration_error": "Expected calibration error",
    "boundary_distance": "Mean distance of the training texts to the teacher's boundary",
    "fisher_log_determinant": "Fisher information of the training texts, log-determinant",
}


def write_report(rows: Sequence[CellResult], folder: Path) -> list[Difference]:
    """Write `report.md` and its figures to a folder; return where students lost to another arm.

    A student that is ahead in the mean and lost in one seed counts, too.
    The text comes first: by it a folder of ours is told, whose figures may be overwritten.

    Raises:
        ConfigError: matplotlib is not installed.
        RunError: the folder has other files of these names.

    """
    check_matplotlib()
    drawn = {
        f"figure-{number}": one for number, one in enumerate(panels(by_arm(rows)).items(), start=1)
    }
    _refuse_others(folder, list(drawn))
    lines = [_TITLE, "", *_introduction(rows)]
    compared: list[Difference] = []
    for name, (panel, members) in drawn.items():
        found = _differences(members)
        compared += found
        title = _literal(panel_title(panel))
        lines += ["", f"## {title}", "", f"![{title}]({name}.png)"]
        lines += [*_teachers(members), *_tables(members), *_published(members), *_compared(found)]
    lines += [*_lost(compared), *_failed(by_arm(rows))]
    jsonl.write_text(folder / REPORT, "\n".join(lines) + "\n")
    for name, (_, members) in drawn.items():
        draw_panel(members, folder / name)
    return [one for one in compared if one.worse_seeds]


def _refuse_others(folder: Path, figures: Sequence[str]) -> None:
    """Refuse to write over what is no report of ours."""
    text = folder / REPORT
    if text.is_file():
        others = [] if text.read_text("utf-8", "replace").startswith(f"{_TITLE}\n") else [text]
    else:
        names = [f"{name}.{kind}" for name in figures for kind in ("png", "svg")]
        others = [folder / name for name in names if folder.joinpath(name).exists()]
    if others:
        raise RunError(
            f"{others[0]} is of no report by this command, and would be overwritten.",
            "Choose another --out.",
        )


def _introduction(rows: Sequence[CellResult]) -> list[str]:
    done = [row for row in rows if row.metrics is not None]
    seeds = f", seeds {_listed({row.seed for row in done})}" if done else ""
    return [
        f"{len(done)} results{seeds}. "
        "± and brackets are 95 % intervals (Student's t over seeds; differences are paired by "
        "seed). Every figure is on the full test split, after a fixed number of steps."
    ]


def _teachers(members: Sequence[Series]) -> Iterator[str]:
    """Of the teacher that a panel's arms are to copy: there are several where sweeps had others."""
    rows = (row for one in members for row in one.rows)
    tested = dict.fromkeys((row.teacher_accuracy, row.metrics.n) for row in rows if row.metrics)
    for accuracy, count in tested:
        if accuracy is not None:
            yield from ("", f"Teacher's accuracy {accuracy:.3f}, {count} test texts.")


def _listed(values: set[int]) -> str:
    return ", ".join(map(str, sorted(values)))


def _tables(members: Sequence[Series]) -> Iterator[str]:
    sizes = sorted({k for one in members for k in one.sizes})
    seeds = len({row.seed for one in members for row in one.rows})
    for measure, title in _TABLES.items():
        body = [
            _row([_literal(one.arm), *(_mean(one, measure, k, seeds) for k in sizes)])
            for one in members
            if one.curve(measure)
        ]
        if body:
            yield from ("", f"### {title}", "")
            yield from _head(["arm", *(f"k = {k}" for k in sizes)])
            yield from body


def _mean(one: Series, measure: str, k: int, seeds: int) -> str:
    """A figure at k, and of how many seeds it is the mean where others have more."""
    point, count = one.point(measure, k), len(one.values(measure, k))
    if point is None:
        return ""
    return str(point) if count == seeds else f"{point}, {count} of {seeds} seeds"


def _published(members: Sequence[Series]) -> Iterator[str]:
    dataset, method, _ = members[0].panel
    table = published()
    curves = table.find(dataset, method)
    if curves is None:
        return
    yield from ("", f"### Published accuracy ({table.source})", "")
    yield from _head(["", *(f"k = {k}" for k in table.k)])
    yield _row(["baseline", *(f"{value:.3f}" for value in curves.baseline)])
    yield _row(["with counterfactuals", *(f"{value:.3f}" for value in curves.student)])
    yield ""
    yield "Other data, models and rules: to be held against the shape of the curves."


def _differences(members: Sequence[Series]) -> list[Difference]:
    """The students of a panel against every other arm, in agreement with the teacher."""
    students = [one for one in members if one.rows[0].arm == "student"]
    others = [one for one in members if one.rows[0].arm != "student"]
    return [
        found
        for student in students
        for other in others
        if _of_one_making(student.rows[0], other.rows[0])
        for found in compare(student, other, "teacher_agreement")
    ]


def _of_one_making(student: CellResult, other: CellResult) -> bool:
    """Whether an arm's counterfactuals, if it has any, were made as the student's own."""
    axes = {**student.settings, **other.settings}
    makings = [(other.generator, student.generator)]
    makings += [(other.settings.get(axis), student.settings.get(axis)) for axis in axes]
    needs_none = other.generator is None
    return all(theirs == ours or (theirs is None and needs_none) for theirs, ours in makings)


def _compared(found: Sequence[Difference]) -> Iterator[str]:
    if not found:
        return
    sizes = sorted({one.k for one in found})
    by_pair: dict[tuple[str, str], dict[int, Difference]] = {}
    for one in found:
        by_pair.setdefault((one.series, one.other), {})[one.k] = one
    yield from ("", "### Agreement: difference, paired by seed", "")
    yield from _head(["", *(f"k = {k}" for k in sizes)])
    for (name, other), cells in by_pair.items():
        yield _row([_literal(f"{name} - {other}"), *(str(cells.get(k, "")) for k in sizes)])


def _lost(compared: Sequence[Difference]) -> Iterator[str]:
    yield from ("", "## Where the student lost", "")
    if not compared:
        yield "No student was compared with another arm."
        return
    lost = [one for one in compared if one.worse_seeds]
    if not lost:
        yield "In no run was another arm closer to the teacher."
        return
    yield from _head(["", "against", "k", "difference", "beyond the interval", "seeds that lost"])
    for one in lost:
        behind = "yes" if one.verdict == "behind" else "no"
        yield _row(
            [
                _literal(f"{panel_title(one.panel)}, {one.series}"),
                _literal(one.other),
                str(one.k),
                str(one),
                behind,
                _listed(set(one.worse_seeds)),
            ]
        )


def _failed(series: Sequence[Series]) -> Iterator[str]:
    failed = [(one, row) for one in series for row in one.rows if row.error]
    if not failed:
        return
    yield from ("", "## Failed", "")
    yield from _head(["", "arm", "k", "seed", "reason"])
    for one, row in failed:
        names = map(_literal, (panel_title(one.panel), one.arm))
        yield _row([*names, str(row.k), str(row.seed), _literal(row.error or "")])


def _head(cells: Sequence[str]) -> list[str]:
    return [_row(cells), _row(["---"] * len(cells))]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _literal(text: str) -> str:
    """A name or message of anybody's as Markdown that shows it as it is, in one line."""
    shown = "".join(one if one.isprintable() else " " for one in text)
    return _MARKUP.sub(r"\\\g<0>", shown)
