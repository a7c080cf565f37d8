"""The theory command."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from codlocal.cli.headings import Place
from codlocal.cli.options import console_of, options
from codlocal.core.errors import ConfigError

if TYPE_CHECKING:
    from codlocal.pipeline.moons import MoonResult

_FIGURES = ("agreement", "hausdorff", "bound", "fisher")


@click.command()
@click.option(
    "-k",
    "--k",
    type=click.IntRange(min=2),
    default=20,
    show_default=True,
    help="Points per student; even.",
)
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="How many seeds: mean and interval over them.",
)
@click.option(
    "--out",
    type=Place(),
    metavar="DIR",
    default=Path("runs/theory"),
    show_default=True,
    help="Where the figure is written.",
)
@options("output")
def theory(k: int, seeds: int, out: Path, **given: Any) -> None:
    """Redraw the paper's two-moons demonstration.

    A student distilled on k/2 points and the nearest points across the teacher's boundary, against
    one distilled on k points: agreement near the data, the Hausdorff distance of the boundaries
    beside its bound (largest edit + coverage), and the Fisher information of the points. Writes
    two-moons.png, .svg and .json. Needs matplotlib: pip install 'codlocal[report]'.
    """
    from codlocal.core import jsonl
    from codlocal.evaluation.figures import check_matplotlib
    from codlocal.pipeline.moons import POINTS, demonstrate, draw

    if k % 2 or k > POINTS:
        raise ConfigError(
            f"k must be even, and {POINTS} at most, not {k}.",
            f"There are {POINTS} points, and half of a student's get counterfactuals.",
        )
    check_matplotlib()
    console = console_of(given)
    results = []
    with console.progress("Two moons", seeds) as task:
        for seed in range(seeds):
            found, moons = demonstrate(k, seed)
            if not seed:
                draw(moons, out / "two-moons")
            results += found
            task.advance()
    summary = {"k": k, "figure": str(out / "two-moons.png"),
               "results": [row.model_dump(mode="json") for row in results]}  # fmt: skip
    jsonl.write_json(out / "two-moons.json", summary)
    console.result(summary, _table(results, k))
    console.info(f"Figure: {out / 'two-moons.png'}")


def _table(results: "Sequence[MoonResult]", k: int) -> Table:
    from codlocal.evaluation.comparison import over_seeds

    table = Table(title=f"Two moons, k = {k}", caption="95% intervals: student t over seeds")
    table.add_column("")
    for heading in ("agreement", "Hausdorff", "its bound", "Fisher trace"):
        table.add_column(heading, justify="right")
    for arm in ("student", "baseline"):
        rows = [row for row in results if row.arm == arm]
        columns = ([getattr(row, name) for row in rows] for name in _FIGURES)
        points = [over_seeds(k, [it for it in one if it is not None]) for one in columns]
        table.add_row(arm, *("-" if point is None else str(point) for point in points))
    return table
