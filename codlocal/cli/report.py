"""The report command."""

from pathlib import Path
from typing import Any

import click

from codlocal.cli.headings import Place
from codlocal.cli.options import console_of, options
from codlocal.core.errors import RunError


@click.command()
@click.argument("folders", type=Place(), nargs=-1, required=True, metavar="DIR…")
@click.option(
    "--out",
    type=Place(),
    metavar="DIR",
    help="Where the report is written. [default: the first DIR/report]",
)
@options("output")
def report(folders: tuple[Path, ...], out: Path | None, **given: Any) -> None:
    """Draw what `codlocal ablate` found.

    Curves over k, beside the published ones.

    Writes report.md with every number, its interval and where the student lost, and a PNG and an
    SVG for each dataset and method. Of equal cells in several DIRs the last result counts; cells
    that look alike and are not equal are refused. Needs matplotlib: pip install 'codlocal[report]'.
    """
    from codlocal.evaluation.comparison import panel_title
    from codlocal.evaluation.gathering import gather
    from codlocal.evaluation.written import REPORT, write_report

    console = console_of(given)
    rows = gather(folders)
    if not rows:
        raise RunError("There are no results yet.", "Let `codlocal ablate` do some cells first.")
    target = out or folders[0] / "report"
    lost = write_report(rows, target)
    console.info(f"Report: {target / REPORT}")
    for one in (one for one in lost if one.mean < 0):
        name = f"{panel_title(one.panel)}, {one.series}"
        console.info(f"{name} lost to {one.other} at k = {one.k}: {one}")
    console.result(
        {
            "report": str(target / REPORT),
            "results": len(rows),
            "lost": [
                {
                    **dict(zip(("dataset", "method", "setting"), one.panel, strict=True)),
                    "student": one.series,
                    "other": one.other,
                    "k": one.k,
                    "mean": one.mean,
                    "interval": one.interval,
                    "seeds": one.worse_seeds,
                }
                for one in lost
            ],
        }
    )
