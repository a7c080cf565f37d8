"""`scripts/bench generation`: speed, yield, memory and the cost of constraints, in one run."""

import json
from pathlib import Path
from typing import Any

import click
from rich.console import Console as RichConsole
from rich.table import Table

from benchmarks import options
from benchmarks.constraints import compile_times
from benchmarks.memory import peak_memory
from benchmarks.real_server import Bench, efficiency, throughput
from codlocal.cli import main as run
from codlocal.core import config as settings
from codlocal.core import jsonl
from codlocal.core.config import Config
from codlocal.core.console import Console
from codlocal.core.records import Example
from codlocal.core.run import RunFolder
from codlocal.generation.engines.server import ServerSettings, running
from codlocal.models import locate
from codlocal.pipeline.engines import beginning_of_sequence, server_settings

_PARTS = ("server", "memory", "constraints")


@click.command()
@options.texts
@options.out("the runs and generation.json")
@click.option(
    "--prompt",
    type=click.Path(exists=True, path_type=Path),
    help="Words the task, where the generic prompt is not right for the data.",
)
@click.option("--originals", default=16, show_default=True, help="Texts to be flipped.")
@click.option(
    "--sizes",
    default="1000,10000,100000",
    show_default=True,
    help="Numbers of originals for the memory of the client.",
)
@click.option("--only", type=click.Choice(_PARTS), multiple=True, help="Leave out the others.")
def main(
    data: Path, out: Path, prompt: Path | None, originals: int, sizes: str, only: tuple[str, ...]
) -> None:
    """Measure generation with the embedded models; the runs in --out must be new."""
    parts = only or _PARTS
    config = _config(data, prompt, originals)
    result: dict[str, Any] = {}
    if "memory" in parts:
        result["memory"] = peak_memory([int(size) for size in sizes.split(",")], out)
    if "constraints" in parts:
        result["constraints"] = _constraints(config, out)
    if "server" in parts:
        _with_server(config, out, result)
    jsonl.write_json(out / "generation.json", result)
    click.echo(json.dumps(result))
    RichConsole(stderr=True).print(_table(result))


def _config(data: Path, prompt: Path | None, originals: int) -> Config:
    dataset = {"name": data.stem, "path": str(data.absolute()), "k": 2 * originals, "seeds": 1}
    generator = {"prompt": str(prompt.absolute())} if prompt else {}
    chosen = {"dataset": dataset, "generator": generator}
    return settings.resolve([settings.profile_settings("embedded"), chosen])


def _constraints(config: Config, out: Path) -> list[dict[str, Any]]:
    from codlocal.pipeline.session import Session

    server = _server_settings(config, out)
    with RunFolder.open(out / "texts", config) as run:
        Session(run, Console(-1)).advance("data")
        rows = jsonl.read_rows(run.file("data", "train.jsonl"), Example)
        return compile_times(server.python, server.model, (row.text for row in rows))


def _with_server(config: Config, out: Path, result: dict[str, Any]) -> None:
    """Add what one server shows to the result, which is kept after each part."""
    server = _server_settings(config, out)
    with running(server, Console()) as started:
        bench = Bench(started, beginning_of_sequence(server.model), config, out)
        for name, measure in (("throughput", throughput), ("efficiency", efficiency)):
            result[name] = measure(bench)
            jsonl.write_json(out / "generation.json", result)


def _server_settings(config: Config, out: Path) -> ServerSettings:
    model = locate.resolve(config.generator.model, console=Console(), offline=False)
    return server_settings(config, model, out / "server.log")


def _table(result: dict[str, Any]) -> Table:
    table = Table(title="Generation")
    for heading in ("measure", "value", "aim"):
        table.add_column(heading, justify="left" if heading == "measure" else "right")
    if "throughput" in result:
        table.add_row(
            "requests/s, codlocal : bare client", f"{result['throughput']['ratio']:.2f}", ">= 0.97"
        )
        for name, ratio in result["efficiency"]["ratio"].items():
            words = f"{name.replace('_', ' ')} per 1,000 tokens, codlocal : best-of-n"
            table.add_row(words, "-" if ratio is None else f"{ratio:.1f}", ">= 3")
    for row in result.get("memory", []):
        table.add_row(
            f"peak memory, {row['originals']:,} originals", f"{row['peak_mb']} MB", "flat"
        )
    for row in result.get("constraints", []):
        words = f"compile {row['characters']} characters, {row['slots']} slots (xgrammar, guidance)"
        both = f"{row['xgrammar_seconds'] * 1e3:.0f}, {row['guidance_seconds'] * 1e3:.0f} ms"
        table.add_row(words, both, "")
    return table


if __name__ == "__main__":
    run(main)
