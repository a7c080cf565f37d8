"""`scripts/bench quality`: the arms on several datasets over k and seeds, as an ablation."""

import json
from pathlib import Path
from typing import Any

import click
import tomli_w

from benchmarks import options
from codlocal.cli import cli
from codlocal.cli import main as run
from codlocal.core import jsonl
from codlocal.data.registry import REGISTRY, SENTIMENT

_ARMS = "student,baseline,half,untrained,logistic,logistic-pairs"


def _counts(context: click.Context, option: click.Parameter, value: str) -> list[int]:
    try:
        return [int(word) for word in _listed(context, option, value)]
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is no list of numbers, such as 8,16.") from error


def _listed(_context: click.Context, _option: click.Parameter, value: str) -> list[str]:
    return [word.strip() for word in value.split(",") if word.strip()]


@click.command()
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    metavar="DIR",
    help="Has a folder for each set, with train.jsonl, test.jsonl and, if need be, labels.json.",
)
@options.out("the grid, the results and the report")
@click.option(
    "--sets", default="sst2,uci_yelp,amazon_polarity,cola", show_default=True, callback=_listed,
    help="Folders of DIR.",
)  # fmt: skip
@click.option("--k", "sizes", default="8,16,32,64,128", show_default=True, callback=_counts,
              help="Labelled texts per student.")  # fmt: skip
@click.option("--seeds", default=5, show_default=True, help="How many seeds.")
@click.option("--arms", default=_ARMS, show_default=True, callback=_listed,
              help="As `codlocal ablate --help` lists them.")  # fmt: skip
@click.option("--methods", default="", callback=_listed, metavar="kd,lwd,ted",
              help="How students are distilled. [default: as in the profile]")  # fmt: skip
@click.option("--starts", default="pretrained,teacher", show_default=True, callback=_listed,
              help="Whose layers students are made of, or auto.")  # fmt: skip
@click.option("--profile", default="embedded", show_default=True, help="As for codlocal.")
@click.option("--pairs-from", multiple=True, metavar="RUN",
              help="A run whose counterfactuals are used again.")  # fmt: skip
@click.option("--set", "assignments", multiple=True, metavar="SECTION.KEY=VALUE",
              help="A setting for all arms; may be repeated.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Print what would be done.")
def main(data: Path, out: Path, *, dry_run: bool, **given: Any) -> int:
    """Train and score the arms, resumably, and write the report to OUT/report."""
    grid = out / "quality.toml"
    jsonl.write_text(grid, tomli_w.dumps(_grid(data, given)))
    words = ["ablate", str(grid), "--out", str(out)]
    words += [word for one in given["assignments"] for word in ("--set", one)]
    code = cli.main([*words, *(["--dry-run"] if dry_run else [])], standalone_mode=False)
    if not dry_run:
        cli.main(["report", str(out)], standalone_mode=False)
    return int(code)


def _grid(data: Path, given: dict[str, Any]) -> dict[str, Any]:
    return {
        "profile": given["profile"],
        "dataset": [_dataset(data, name) for name in given["sets"]],
        "k": given["sizes"],
        "seeds": given["seeds"],
        "arm": given["arms"],
        "method": given["methods"],
        "pairs_from": list(given["pairs_from"]),
        "vary": {"distillation": {"student_init": given["starts"]}},
    }


def _dataset(data: Path, name: str) -> dict[str, Any]:
    """A set, with the task and the labels that its name is known for, else of sentiment.

    A list `labels.json` in its folder says what its numbers mean where their order is its own.
    """
    entry = REGISTRY.get(name)
    task, labels = (entry.task, entry.label_names) if entry else ("sentiment", SENTIMENT)
    own = data / name / "labels.json"
    if own.is_file():
        labels = tuple(label.replace("_", " ") for label in json.loads(own.read_text("utf-8")))
    return {
        "name": name, "path": str(data / name), "label_names": list(labels), "prompt": task,
    }  # fmt: skip


if __name__ == "__main__":
    run(main)
