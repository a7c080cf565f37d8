"""The engine commands: vLLM in an environment of its own."""

from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape
from rich.table import Table

from codlocal.cli.options import console_of, options

if TYPE_CHECKING:
    from codlocal.airgap.engine import Kind


@click.group()
def engine() -> None:
    """The vLLM engine, in an environment of its own."""


@engine.command()
@click.option("--cpu", is_flag=True, help="The build for CPUs; 3.4 GB on disk.")
@click.option("--gpu", is_flag=True, help="The CUDA build, which is larger.")
@click.option("--upgrade", is_flag=True, help="Install again, even if it is there.")
@click.option("--dry-run", is_flag=True, help="Say what would be installed, and where.")
@options("output")
def install(cpu: bool, gpu: bool, upgrade: bool, dry_run: bool, **given: Any) -> None:
    """Build the environment that runs vLLM: for the GPU if there is one, else for the CPU.

    pip's own settings apply (PIP_INDEX_URL, PIP_FIND_LINKS, PIP_NO_INDEX), so a mirror or a
    folder of wheels serves an air-gapped machine.
    """
    from codlocal.airgap.engine import install, planned
    from codlocal.core import paths
    from codlocal.pipeline.engines import has_gpu

    console = console_of(given)
    if cpu and gpu:
        raise click.UsageError("--cpu and --gpu exclude each other.")
    kind: Kind = "gpu" if gpu or (not cpu and has_gpu()) else "cpu"
    table = Table(title="Engine")
    if dry_run:
        facts = planned(kind, upgrade=upgrade)
    else:
        facts = install(kind, console, upgrade=upgrade, offline=bool(given.get("offline")))
    facts = {**facts, "folder": str(paths.engine()), "dry_run": dry_run}
    table.add_column("")
    table.add_column("value", overflow="fold")
    for name, value in facts.items():
        table.add_row(name.replace("_", " "), escape(str(value)))
    console.result(facts, table)
