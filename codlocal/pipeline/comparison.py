"""Several generators on the same examples, budget and teacher: which one serves best.

Each gets an ordinary run folder of its own, `RUN/generators/NAME`, one after another, so that it
resumes and can be opened by itself. What does not depend on the generator is made once: the
teacher is in the store, and the baseline students are copied from the first run.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codlocal.core import artifacts, jsonl
from codlocal.core.config import STAGES, Config
from codlocal.core.console import Console
from codlocal.core.errors import ConfigError, RunError
from codlocal.core.records import CounterfactualPair
from codlocal.core.run import RunFolder
from codlocal.evaluation.report import read_metrics
from codlocal.evaluation.summary import difference
from codlocal.models import locate
from codlocal.models.folders import copy_file, copy_folder
from codlocal.pipeline.preflight import check_kept, check_machine
from codlocal.verification.intervals import intervals
from codlocal.verification.report import read_generation
from codlocal.verification.stage import read_evidence

FOLDER = "generators"
RESULT = "comparison.json"
_MODES = ("chat", "completion")

Advance = Callable[[RunFolder, str], None]
"""Brings a run up to a stage."""


@dataclass(frozen=True)
class Contender:
    """One generator: what the user called it, the model, and how it is asked."""

    name: str
    model: str
    prompting: str


def contenders(words: Sequence[str], console: Console, *, offline: bool) -> list[Contender]:
    """The generators that the user named, as MODEL, MODEL:chat or MODEL:completion.

    Without a mode, a model with a chat template is asked by chat. Every model is fetched, so that
    one that can't be had is found out before the first run.

    Raises:
        ConfigError: a generator is named twice.
        ModelError: a model can't be had.

    """
    found = [_contender(word, console, offline=offline) for word in words]
    names = [one.name for one in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(
            f"Two generators are called {twice!r}.",
            "Their folders would be the same: rename one, or leave one out.",
        )
    return found


def _contender(word: str, console: Console, *, offline: bool) -> Contender:
    model, colon, mode = word.rpartition(":")
    if not colon or mode not in _MODES:
        model, mode = word, ""
    folder = locate.resolve(model, console=console, offline=offline)
    model = locate.anchored(model)
    name = Path(model).name
    return Contender(
        name=f"{name}-{mode}" if mode else name,
        model=model,
        prompting=mode or ("chat" if locate.chat_template(folder) else "completion"),
    )


def settings_of(base: Config, contender: Contender) -> Config:
    """A run's settings with another generator; few pairs are a result here, never an error.

    Raises:
        ConfigError: the settings name one place where all replies come from.

    """
    if base.runtime.server_url or base.runtime.replay:
        raise ConfigError(
            "Generators can't be compared on one server or one replay.",
            "Leave out runtime.server_url and runtime.replay: each generator gets a server of its "
            "own.",
        )
    chosen = {"model": contender.model, "prompting": contender.prompting}
    return base.model_copy(
        update={
            "generator": base.generator.model_copy(update=chosen),
            "verification": base.verification.model_copy(update={"min_pairs": 0}),
        }
    )


def set_aside(folder: Path, base: Config, generators: Sequence[Contender], stage: str) -> None:
    """Set the results of a stage and of later ones aside in all runs, before one is redone.

    Raises:
        CodlocalError: one of them can't be redone; then all are as they were.

    """
    for run in _possible(folder, base, generators, stage):
        with RunFolder.open(run.path, run.config, redo=stage):
            pass


def _possible(
    folder: Path, base: Config, generators: Sequence[Contender], redo: str | None = None
) -> list[RunFolder]:
    """The runs of all generators, as far as can be told before one of them is begun or redone.

    Raises:
        ConfigError: a package is missing, or a base model is to chat, or
        DeviceError: a GPU is missing, or
        EngineError: there is no engine for what is redone, or
        ModelError: a generator is none, or the teacher is gone, or
        RunError: a stage of one of them had other settings.

    """
    runs = [RunFolder(folder / FOLDER / one.name, settings_of(base, one)) for one in generators]
    for run in runs:
        check_machine(run, STAGES[-1], redo)
        check_kept(run, STAGES[-1], redo)
        run.refuse_changed_settings(redo)
    return runs


def compare(
    folder: Path, base: Config, generators: Sequence[Contender], advance: Advance
) -> dict[str, Any]:
    """Bring every generator's run to its end; write and return `comparison.json`.

    Args:
        folder: gets the runs and the result.
        base: the settings that all share.
        generators: one run each, in this order.
        advance: brings a run up to a stage.

    Raises:
        CodlocalError: one of the runs can't be made; whatever can be is known before the first.
        RunError: the texts were changed after the first run had read them.

    """
    rows: list[dict[str, Any]] = []
    runs = _possible(folder, base, generators)
    for one, its in zip(generators, runs, strict=True):
        with RunFolder.open(its.path, its.config) as run:
            if rows:
                advance(run, "data")
                _refuse_other_texts(RunFolder(Path(rows[0]["run"]), base), run)
            advance(run, "verify")
            if rows and not run.is_done("distill"):
                _share_baselines(Path(rows[0]["run"]), run)
            advance(run, "evaluate")
            rows.append(_row(one, run))
    for row in rows[1:]:
        row["against_first"] = difference(_agreements(row), _agreements(rows[0]))
    result = {"generators": rows}
    jsonl.write_json(folder / RESULT, result)
    return result


def _refuse_other_texts(first: RunFolder, run: RunFolder) -> None:
    if artifacts.read_spec(first).sha256 != artifacts.read_spec(run).sha256:
        raise RunError(
            f"{run.path} and {first.path} have other texts: the data was changed in between.",
            f"Put the data back and remove {run.path}, or add --redo data to do all runs anew.",
        )


def _share_baselines(first: Path, run: RunFolder) -> None:
    """Copy the students that saw no counterfactual; all runs have the same texts and teacher.

    The filters, which lie beside their folders, come first: a student that is there has its own.
    """
    filters = "filters-baseline-*.safetensors"
    for pattern, copy in ((filters, copy_file), ("baseline-*", copy_folder)):
        for source in sorted(first.glob(f"students/{pattern}")):
            target = run.file("students", source.name)
            if not target.exists():
                copy(source, target)


def _agreements(row: Mapping[str, Any]) -> list[float]:
    return [one["teacher_agreement"] for one in row["metrics"]["per_seed"]["student"]]


def _row(contender: Contender, run: RunFolder) -> dict[str, Any]:
    generate, verify = run.facts("generate"), run.facts("verify")
    pairs = list(jsonl.read_rows(run.file("pairs.jsonl"), CounterfactualPair))
    bounds = intervals(read_evidence(run), {pair.candidate_id for pair in pairs})
    return {
        "name": contender.name,
        "model": contender.model,
        "prompting": contender.prompting,
        "run": str(run.path),
        "originals": verify["originals"],
        "candidates": verify["candidates"],
        "flips": verify["flips"],
        "pairs": verify["pairs"],
        "paired": len({pair.example_id for pair in pairs}),
        "median_edit_distance": verify["median_edit_distance"],
        "completion_tokens": generate["completion_tokens"],
        "seconds": run.manifest.stages["generate"].seconds,
        "measures": read_generation(run).model_dump(mode="json"),
        "intervals": {name: list(it) if it else None for name, it in bounds.items()},
        "metrics": read_metrics(run),
    }
