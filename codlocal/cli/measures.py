"""The measures command."""

from pathlib import Path
from typing import Any

import click

from codlocal.cli.headings import Command, Place
from codlocal.cli.options import config_of, console_of, options
from codlocal.core import config as settings
from codlocal.core.errors import ConfigError, RunError
from codlocal.core.run import RunFolder


@click.command(cls=Command)
@click.option(
    "--pairs", type=Place(), metavar="FILE.jsonl",
    help="Counterfactuals that people wrote, to be measured beside the run's: one "
    '{"text", "counterfactual"} a line. Labels beside them are not looked at: '
    "the run's teacher says what flips.",
)  # fmt: skip
@click.option(
    "--perplexity",
    is_flag=True,
    help="Start the run's generator, and have it score the texts of --pairs.",
)
@options("measures")
def measures(pairs: Path | None, perplexity: bool, **given: Any) -> None:
    """Show what the counterfactuals of a run are worth.

    How many flip, how close, fluent and diverse they are, and what they cost. With --pairs the
    run's teacher reads people's counterfactuals too. Every flip among them counts as good, however
    large the edit; of their perplexity only the run's generator can tell.
    """
    from codlocal.pipeline.reference import written
    from codlocal.verification.report import read_generation, table

    if perplexity and pairs is None:
        raise ConfigError(
            "--perplexity is of people's pairs, and there are none.",
            "Add --pairs FILE.jsonl, or leave it out: that of the run's own is always shown.",
        )
    console = console_of(given)
    path = given["run"]
    saved = RunFolder.saved_settings(path)
    if saved is None:
        raise RunError(f"There is no run in {path}.", "Check the path.")
    # The generator is asked itself, also of a run that replayed its replies.
    saved = settings.merge(saved, {"runtime": {"replay": None}})
    run = RunFolder(path, config_of(given, saved))
    generation = read_generation(run)
    found = {"run": str(path), **generation.model_dump(mode="json")}
    others = [] if pairs is None else [written(run, pairs, console, perplexity=perplexity)]
    found.update((one.name, one.model_dump(mode="json")) for one in others)
    console.result(found, table(generation, others))
