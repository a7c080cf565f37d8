"""The options that benchmarks share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

texts: Decorator = click.option(
    "--data",
    type=click.Path(exists=True, path_type=Path),
    required=True,
    help="Labelled texts: a file or folder, as for codlocal --data.",
)


def out(gets: str) -> Decorator:
    """Declare `--out`, the folder that gets something."""
    place = click.Path(path_type=Path)
    return click.option("--out", type=place, required=True, metavar="DIR", help=f"Gets {gets}.")
