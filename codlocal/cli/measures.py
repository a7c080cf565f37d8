"""The measures command."""

from pathlib import Path
from typing import Any

import click

from codlocal.cli.headings import Command
from codlocal.cli.options import config_of, console_of, options
from codlocal.core.run import RunFolder


@click.command(cls=Command)
@click.option(
    "--pairs", type=click.Path(path_type=Path), metavar="FILE.jsonl",
    help="Counterfactuals that people wrote, to be measured beside the run's: one "
    '{"text", "label", "counterfactual", "counterfactual_label"} a line.',
)  # fmt: skip
@options("measures")
def measures(pairs: Path | None, **given: Any) -> None:
    """Show what the counterfactuals of a run are worth.

    How many flip, how close, fluent and diverse they are, and what they cost. With --pairs the
    run's teacher reads people's counterfactuals too, and every flip among them is measured by the
    same rule.
    """
    from codlocal.pipeline.reference import written
    from codlocal.verification.report import read_generation, table

    console = console_of(given)
    path = given["run"]
    run = RunFolder(path, config_of(given, RunFolder.saved_settings(path)))
    generation = read_generation(run)
    found = {"run": str(path), **generation.model_dump(mode="json")}
    others = [] if pairs is None else [written(run, pairs, console)]
    found.update((one.name, one.model_dump(mode="json")) for one in others)
    console.result(found, table(generation, others))
