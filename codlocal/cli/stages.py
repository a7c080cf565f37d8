"""The commands that bring a run up to a stage."""

from pathlib import Path
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from codlocal.cli.headings import Command
from codlocal.cli.options import config_of, console_of, open_run, options, run_path
from codlocal.core.artifacts import published_student
from codlocal.core.config import STAGES, parse_assignments
from codlocal.core.console import Console
from codlocal.core.errors import RunError
from codlocal.core.run import RunFolder

_BEGINNINGS = ("dataset", "data", "profile", "config_file")
"""Options that say what a new run is to be of; `--set` may do so, too."""


def _go_on(until: str, given: dict[str, Any]) -> None:
    """Advance a run; a new one is begun only by who says of what, not by a mistyped path."""
    path = given["run"]
    begun = path is None or RunFolder.saved_settings(path) is not None
    if not begun and not _says_of_what(given):
        raise RunError(
            f"There is no run in {path}.",
            "Check the path. To begin a run there, say of what: --dataset or --data, --profile.",
        )
    _advance(until, given)


def _says_of_what(given: dict[str, Any]) -> bool:
    assigned = parse_assignments(given["assignments"]).get("dataset", {})
    return any(given[name] for name in _BEGINNINGS) or bool({"name", "path"} & assigned.keys())


def _advance(until: str, given: dict[str, Any], rounds: int = 1) -> None:
    from codlocal.pipeline.preflight import check_kept, check_machine
    from codlocal.pipeline.rounds import check_rounds
    from codlocal.pipeline.session import Session, manifest_summary

    def check(run: RunFolder) -> None:
        check_rounds(run.config, rounds)
        check_machine(run, until, given["redo"])
        check_kept(run, until, given["redo"])

    _refuse_later_redo(until, given["redo"])
    console = console_of(given)
    with open_run(given, console, check) as run:
        worked = Session(run, console).advance(until)
        student = published_student(run) if until == "evaluate" else None
        if not worked and rounds == 1:
            console.info(f"Nothing to do: the {until} stage of {run.path} is done.")
        summary = manifest_summary(run)
        tables = [_stage_table(run)]
        if until in {"verify", "evaluate"}:
            tables.append(_measures(run, summary))
        if until == "evaluate":
            tables.append(_metrics(run, summary))
        if rounds > 1:
            tables.append(_rounds(run, rounds, summary, console))
        console.result(summary, tables)
        if until == "evaluate":
            console.info(f"Student: {student}   metrics: {run.file('metrics.json')}")
        for row in summary.get("rounds", ())[1:]:
            console.info(f"Student of round {row['round']}: {Path(row['run']) / 'student'}")


def _refuse_later_redo(until: str, redo: str | None) -> None:
    if redo and STAGES.index(redo) > STAGES.index(until):
        command = "teacher train" if redo == "teacher" else redo
        raise click.UsageError(
            f"--redo {redo} would set results aside that this command does not make anew: it ends "
            f"with the {until} stage. Use `codlocal {command}` instead."
        )


def _look_ahead(given: dict[str, Any], rounds: int) -> int:
    """Show what a run would do and needs; the exit code is that of the first problem."""
    from codlocal.pipeline import outlook, preflight

    console, path = console_of(given), run_path(given)
    run = RunFolder(path, config_of(given, RunFolder.saved_settings(path)))
    redo = given["redo"]
    stages, needs = outlook.stages(run, redo), list(outlook.needs(run, redo, rounds))
    summary = {
        "run": str(path),
        "stages": stages,
        "needs": {one.name: {"state": one.state, "ok": one.problem is None} for one in needs},
    }
    states = {one.name: one.state for one in needs}
    console.result(summary, [_states(f"Run {path}", stages), _states("What it needs", states)])
    problems = {one.name: one.problem for one in needs if one.problem is not None}
    for name, problem in problems.items():
        console.warn(f"{name}: {problem.message} {problem.hint}".strip())
    if "distill" in run.missing(redo=redo):
        preflight.warn_of_budget(run.config, console)
    return next((one.exit_code for one in problems.values()), 0)


def _states(title: str, states: dict[str, str]) -> Table:
    table = Table(title=escape(title), show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    for name, state in states.items():
        table.add_row(escape(name), escape(state))
    return table


def _measures(run: RunFolder, summary: dict[str, Any]) -> Table:
    from codlocal.verification.report import read_generation, table

    generation = read_generation(run)
    summary["counterfactuals"] = generation.model_dump(mode="json")
    return table(generation)


def _metrics(run: RunFolder, summary: dict[str, Any]) -> Table:
    from codlocal.evaluation.report import read_metrics, table

    summary["metrics"] = read_metrics(run)
    return table(summary["metrics"])


def _rounds(run: RunFolder, rounds: int, summary: dict[str, Any], console: Console) -> Table:
    """Run the further rounds; one row for each, the first among them."""
    from codlocal.evaluation.report import agreement
    from codlocal.pipeline.rounds import refine

    summary["rounds"] = refine(run, rounds, console)
    table = Table(title="Rounds")
    for heading in ("round", "counterfactuals", "agreement", "student"):
        table.add_column(heading, justify="left" if heading == "student" else "right")
    for row in summary["rounds"]:
        place = escape(str(Path(row["run"]) / "student"))
        cells = (str(row["round"]), str(row["counterfactuals"]), agreement(row["metrics"]), place)
        table.add_row(*cells)
    return table


def _stage_table(run: RunFolder) -> Table:
    """What each stage did: its time and the counts that matter."""
    table = Table(title=escape(f"Run {run.path}"))
    table.add_column("stage")
    table.add_column("seconds", justify="right")
    table.add_column("what it did", overflow="fold")
    for stage in STAGES:
        record = run.manifest.stages.get(stage)
        if record is not None:
            table.add_row(stage, f"{record.seconds:.1f}", escape(_describe(stage, record.facts)))
    return table


def _describe(stage: str, facts: dict[str, Any]) -> str:
    """A stage's facts in a few words; nested ones are in the manifest."""
    hidden = {"sha256", "prompt_sha256", "attribution", "path"}
    words = [
        f"{name.replace('_', ' ')} {value}"
        for name, value in facts.items()
        if name not in hidden and isinstance(value, (str, int, float, bool))
    ]
    if stage == "distill":
        words.append(f"students {len(facts.get('students', {}))}")
    return ", ".join(words)


_EXAMPLES = """\b
Examples:
  codlocal pipeline --dataset yelp --profile embedded
  codlocal pipeline --profile embedded --data reviews.csv \\
      --text-column body --label-column mood
"""


@click.command(cls=Command, epilog=_EXAMPLES)
@options("pipeline")
def pipeline(rounds: int, *, dry_run: bool, **given: Any) -> int:
    """Every stage, from a dataset to an evaluated student."""
    if dry_run:
        return _look_ahead(given, rounds)
    _advance("evaluate", given, rounds)
    return 0


@click.command(cls=Command)
@options("data")
def data(**given: Any) -> None:
    """Load the data and draw each seed's k labelled texts."""
    _go_on("data", given)


@click.group()
def teacher() -> None:
    """The classifier to copy."""


@teacher.command(cls=Command)
@options("teacher")
def train(**given: Any) -> None:
    """Fine-tune the teacher on the full training split, unless it has a head already.

    A fine-tuned teacher is kept by content hash: the same model, texts and settings are never
    trained twice.
    """
    _go_on("teacher", given)


@click.command(cls=Command)
@options("generate")
def generate(**given: Any) -> None:
    """Write counterfactuals, verified while they come."""
    _go_on("generate", given)


@click.command(cls=Command)
@options("verify")
def verify(**given: Any) -> None:
    """Choose counterfactuals: flips, small edits, fluent."""
    _go_on("verify", given)


@click.command(cls=Command)
@options("all")
def distill(**given: Any) -> None:
    """Train students on the pairs, and baselines without."""
    _go_on("distill", given)


@click.command(cls=Command)
@options("all")
def evaluate(**given: Any) -> None:
    """Score students and teacher on the full test split."""
    _go_on("evaluate", given)
