"""The compare-generators command: several generators, one run each, one table."""

from typing import Any

import click

from codlocal.cli.headings import Command
from codlocal.cli.options import config_of, console_of, options, run_path
from codlocal.core import config as settings
from codlocal.core.run import RunFolder


@click.command("compare-generators", cls=Command)
@click.argument("generators", nargs=-1, required=True, metavar="MODEL…")
@options("compare")
def compare_generators(generators: tuple[str, ...], **given: Any) -> None:
    """Run generators on the same texts, and compare them.

    Each has the same examples, budget and teacher: which one serves best?

    MODEL is a folder, a packaged name or a hub id. It is asked by chat if it has a chat template;
    MODEL:chat and MODEL:completion choose. Every generator gets a run folder of its own in
    RUN/generators, so that the same command goes on where it stopped.
    """
    from codlocal.pipeline.comparison import FOLDER, RESULT, compare, contenders, set_aside
    from codlocal.pipeline.comparison_table import table
    from codlocal.pipeline.session import Session

    console = console_of(given)
    folder = run_path(given)
    saved = RunFolder.saved_settings(folder)
    if saved is not None:  # where that run's replies came from is no matter of these
        saved = settings.merge(saved, {"runtime": {"replay": None, "server_url": None}})
    config = config_of(given, saved)
    found = contenders(generators, console, offline=config.runtime.offline)
    if given.get("redo"):
        set_aside(folder, config, found, given["redo"])

    def advance(run: RunFolder, until: str) -> None:
        console.info(f"{run.path.name}: up to {until}")
        Session(run, console).advance(until)

    result = compare(folder, config, found, advance)
    console.result(result, table(result))
    console.info(f"Runs: {folder / FOLDER}   result: {folder / RESULT}")
