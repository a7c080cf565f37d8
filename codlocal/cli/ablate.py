"""The ablate command."""

import textwrap
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape
from rich.table import Table

from codlocal.cli.headings import Place
from codlocal.cli.options import console_of, options
from codlocal.core.config import parse_assignments
from codlocal.distillation.arms import ARMS

if TYPE_CHECKING:
    from codlocal.evaluation.results import CellResult
    from codlocal.pipeline.cells import Source

_WIDTH = 78
"""With what click indents it by, the 80 columns of a terminal."""
_EXAMPLE = """\b
A grid:
  profile = "embedded"
  dataset = ["yelp", { name = "mine", path = "reviews.csv" }]
  k = [8, 16, 32]
  seeds = 5
  method = ["kd", "lwd"]
  arm = ["student", "baseline", "logistic"]
  generator = ["gemma-3-270m"]
  pairs_from = ["runs/yelp-embedded"]     # runs with counterfactuals to use
  [vary.distillation]                     # any other setting can be an axis
  student_init = ["pretrained", "teacher"]
  [settings.distillation]                 # and hold for all cells
  layer_weight = 10.0
"""

_ARMS = "\b\nArms, at equal originals, seeds, steps and start:\n" + "\n".join(
    textwrap.fill(f"  {name:<15} {arm.about}", _WIDTH, subsequent_indent=" " * 18)
    for name, arm in ARMS.items()
)

_FAILED = 4


@click.command(epilog=f"{_ARMS}\n\n{_EXAMPLE}")
@click.argument("grid", type=Place(), metavar="GRID.toml")
@click.option(
    "--out",
    type=Place(),
    metavar="DIR",
    help="Where results are kept. [default: runs/NAME-OF-THE-GRID]",
)
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="SECTION.KEY=VALUE",
    help="A setting for all cells; may be repeated.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print the cells, what they share, what is there and which would fail; run nothing.",
)
@options("output")
def ablate(grid: Path, out: Path | None, *, dry_run: bool, **given: Any) -> int:
    """Train and score every cell of a grid, resumably.

    Teachers, the counterfactuals of the largest k, and teacher outputs are made once and shared;
    so are the figures of arms that don't depend on the method, which each method's rows repeat.
    A cell is one row of results.jsonl, results.csv and results.parquet; `codlocal report` draws
    them. What fails is kept with its reason, the rest goes on, and the command exits with 4.
    Relative paths in the grid start from the current directory: go on from the same one.
    """
    from codlocal.pipeline.ablation import check_texts, run_ablation
    from codlocal.pipeline.cells import plan
    from codlocal.pipeline.grid import read_grid

    console = console_of(given)
    assignments = parse_assignments(given["assignments"])
    if given["offline"] is not None:
        assignments.setdefault("runtime", {})["offline"] = given["offline"]
    folder = out or Path("runs") / grid.stem
    sources = plan(read_grid(grid, assignments))
    check_texts(sources, folder)
    if dry_run:
        planned, table = _planned(sources, folder)
        console.result(planned, table)
        problems = Counter(
            cell["problem"] for one in planned["runs"] for cell in one["cells"] if cell["problem"]
        )
        for reason, count in problems.items():
            console.warn(f"{count} cell{'s' if count > 1 else ''} would fail: {reason}")
        return _FAILED if problems else 0
    rows = run_ablation(sources, folder, console)
    failed = [row for row in rows if row.error]
    summary = {
        "folder": str(folder),
        "cells": len(rows),
        "failed": len(failed),
        "results": [row.model_dump(mode="json") for row in rows],
    }
    console.result(summary, _results_table(rows, folder))
    for reason, count in Counter(row.error for row in failed).items():
        console.warn(f"{count} cell{'s' if count > 1 else ''} failed: {reason}")
    return _FAILED if failed else 0


def _planned(sources: "list[Source]", folder: Path) -> tuple[dict[str, Any], Table]:
    """What a dry run prints: a row for each run that cells share, and in JSON every cell."""
    from codlocal.evaluation.results import read_results
    from codlocal.pipeline.ablation import known_work, open_cells, state_of
    from codlocal.pipeline.possible import foreseen

    done = read_results(folder)
    known = known_work(sources, done)
    table = Table(title=escape(f"{folder}: {sum(len(one.cells) for one in sources)} cells"))
    for heading in ("run", "counterfactuals", "arms", "cells", "to do"):
        table.add_column(heading, overflow="fold")
    runs = []
    earlier: list[Source] = []
    for source in sources:
        # One cell for each piece of work; the others share its figures.
        work = {cell.work: cell.key for cell in reversed(open_cells(source, done))}
        to_do = {key for one, key in work.items() if one not in known}
        state = state_of(source, folder, earlier)
        if to_do:
            earlier.append(source)
        arms = ", ".join(dict.fromkeys(cell.arm for cell in source.cells))
        counts = (str(len(source.cells)), str(len(to_do)))
        table.add_row(*map(escape, (source.name, state, arms)), *counts)
        refused = foreseen(cell for cell in source.cells if cell.key in to_do)
        problems = {cell.key: f"{error.message} {error.hint}" for cell, error in refused}
        cells = [
            cell.blank.model_dump(include=_PLACE)
            | {"to_do": cell.key in to_do, "problem": problems.get(cell.key)}
            for cell in source.cells
        ]
        runs.append({"run": source.name, "counterfactuals": state, "cells": cells})
    return {"folder": str(folder), "runs": runs}, table


_PLACE = {"key", "dataset", "generator", "method", "arm", "k", "seed", "settings"}


def _results_table(rows: "list[CellResult]", folder: Path) -> Table:
    """Means over seeds, one row for each combination of the other axes and arm."""
    from codlocal.evaluation.comparison import by_arm

    table = Table(title=escape(f"{folder}: agreement with the teacher"))
    sizes = sorted({row.k for row in rows})
    for heading in ("dataset", "method", "arm"):
        table.add_column(heading)
    for k in sizes:
        table.add_column(f"k = {k}", justify="right")
    for series in by_arm(rows):
        points = [series.point("teacher_agreement", k) for k in sizes]
        words = ", ".join(part for part in (series.method, series.setting) if part)
        cells = ["-" if point is None else str(point) for point in points]
        table.add_row(escape(series.dataset), escape(words), escape(series.arm), *cells)
    return table
