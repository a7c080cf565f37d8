"""The serve command: the generator's vLLM server by itself."""

import asyncio
import signal
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape
from rich.table import Table

from codlocal.cli.headings import Command
from codlocal.cli.options import config_of, console_of, options
from codlocal.core.console import Console
from codlocal.core.errors import EngineError, RunError
from codlocal.core.run import RunFolder

if TYPE_CHECKING:
    from codlocal.generation.engines.server import VllmServer


_MODEL = ("generator", "profile", "config_file", "assignments")
"""Options that say what to serve, if no run does."""


@click.command(cls=Command)
@options("serve")
def serve(**given: Any) -> None:
    """Keep the generator's vLLM server running till Ctrl-C.

    It listens on loopback only and wants a key, which is generated anew each time. Other runs use
    it with --server-url, which saves them the start.

    On a GPU it takes what is free but for a tenth of it all, 3 GB at least, which a teacher takes
    that reads beside it. A run that is to train there, too, needs more room: have it train its
    teacher before (`codlocal teacher train`), or leave some with --set
    runtime.server_arguments='["--gpu-memory-utilization","0.7"]'.
    """
    from codlocal.generation.engines.server import running
    from codlocal.models import locate
    from codlocal.pipeline import preflight
    from codlocal.pipeline.engines import KEY_VARIABLE, find_engine, server_settings

    console = console_of(given)
    run = Path(given["run"]) if given.get("run") else None
    saved = RunFolder.saved_settings(run) if run else None
    if run and saved is None and not any(given[name] for name in _MODEL):
        raise RunError(
            f"There is no run in {run}.",
            "Check the path. Of no run, say what to serve: --generator or --profile.",
        )
    config = config_of(given, saved)
    folder = run or Path(tempfile.mkdtemp(prefix="codlocal-"))
    preflight.check_device(config)
    find_engine(config.runtime.engine_python)  # before a model of many GB is fetched
    model = locate.resolve(config.generator.model, console=console, offline=config.runtime.offline)
    with running(server_settings(config, model, folder / "server.log"), console) as server:
        asyncio.run(_check(server, config.runtime.request_seeds))
        facts = {
            "url": server.url,
            "key": server.key,
            "model": config.generator.model,
            "served_as": server.model_name,
            "log": str(server.settings.log),
        }
        table = Table(title="vLLM server")
        table.add_column("")
        table.add_column("value", overflow="fold")
        for name, value in facts.items():
            table.add_row(name, escape(value))
        console.result(facts, table)
        console.info(f"Use it: {KEY_VARIABLE}={server.key} codlocal … --server-url {server.url}")
        _wait(server, console)


async def _check(server: "VllmServer", seeds: bool) -> None:
    from codlocal.generation.engines import canary
    from codlocal.generation.engines.vllm_engine import VllmEngine

    place = (server.url, server.key, server.model_name)
    engine = VllmEngine(*place, seeds=seeds, explain_death=server.death)
    try:
        await canary.check(engine)
    finally:
        await engine.aclose()


def _wait(server: "VllmServer", console: Console) -> None:
    """Wait for Ctrl-C or SIGTERM, or for the server's death."""
    asked = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: asked.set())
    while not asked.wait(1.0):
        death: EngineError | None = server.death()
        if death is not None:
            raise death
    console.info("Stopping the server.")
