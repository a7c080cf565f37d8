"""Counterfactuals of one run used in another, so that no generator is needed again."""

from collections.abc import Sequence, Set
from pathlib import Path
from typing import Any, TypeVar

from codlocal.core import artifacts, jsonl
from codlocal.core.config import Config
from codlocal.core.console import Console
from codlocal.core.errors import RunError
from codlocal.core.records import Candidate, Original, Verdict
from codlocal.core.run import RunFolder
from codlocal.distillation.finetune import may_get
from codlocal.generation import prompts
from codlocal.models.folders import copy_file
from codlocal.models.teacher import read_teacher
from codlocal.pipeline.cells import Source, lent

RowT = TypeVar("RowT", Original, Candidate, Verdict)


def borrow(run: RunFolder, lender: Path) -> None:
    """Do a run's generate stage with the candidates and verdicts of another run.

    Only those of the run's own originals are taken, so that its gate is learned from them alone.

    Args:
        run: a run whose data and teacher stages are done.
        lender: a run folder whose generate stage is done.

    Raises:
        RunError: the other run has other data, another teacher, or not all originals.

    """
    other = RunFolder(lender, lent(lender))
    wanted = {example.id for example in artifacts.originals(run)}
    originals = _rows(other, "originals.jsonl", Original, wanted)
    _refuse_strangers(run, other, len(wanted) - len(originals))
    with run.stage("generate", steered=False) as facts:
        candidates = _rows(other, "candidates.jsonl", Candidate, wanted)
        verdicts = _rows(other, "verdicts.jsonl", Verdict, wanted)
        copy_file(other.file(prompts.COPY), run.file(prompts.COPY))
        jsonl.write_rows(run.file("originals.jsonl"), originals)
        jsonl.write_rows(run.file("candidates.jsonl"), candidates)
        jsonl.write_rows(run.file("verdicts.jsonl"), verdicts)
        counts = {"originals": len(originals), "candidates": len(candidates)}
        facts.update(taken_from=str(lender), **counts)


def check_lender(run: RunFolder, lender: Path, console: Console) -> None:
    """Refuse another run, as far as that can be known before this one has its teacher.

    Raises:
        ModelError: the teacher's model can't be had.
        RunError: the other run has other data, or another teacher.

    """
    other = RunFolder(lender, lent(lender))
    _refuse_other_data(run, other)
    same_length = other.config.teacher.max_length == run.config.teacher.max_length
    if not (same_length and may_get(run, read_teacher(other), console)):
        raise _strange(other, "has another teacher")


def twin(run: RunFolder, earlier: Sequence[Source] = ()) -> Path | None:
    """Another run of the sweep that has the candidates of this one, which only chooses others.

    Or will have them, as one of `earlier`. None if this one has begun to write its own.
    """
    if "generate" in run.manifest.stages:
        return None
    wanted = _search(run.config)
    for path in sorted(run.path.parent.glob("*/manifest.json")):
        record = RunFolder(path.parent, run.config).manifest.stages.get("generate")
        if record and record.status == "done" and (record.settings, record.steering) == wanted:
            return path.parent
    alike = (run.path.parent / one.name for one in earlier if _search(one.config) == wanted)
    return next(alike, None)


def _search(config: Config) -> tuple[dict[str, Any], dict[str, Any]]:
    """All that a run's candidates depend on."""
    return config.stage_settings("generate"), config.steering("generate")


def _rows(run: RunFolder, name: str, kind: type[RowT], wanted: Set[str]) -> list[RowT]:
    """The rows of some originals."""
    return [row for row in jsonl.read_rows(run.file(name), kind) if row.example_id in wanted]


def _refuse_strangers(run: RunFolder, other: RunFolder, missing: int) -> None:
    _refuse_other_data(run, other)
    if _teacher(other) != _teacher(run):
        raise _strange(other, "has another teacher")
    if missing:
        asked = "which the largest k and the seeds ask for"
        raise _strange(other, f"lacks {missing} of the originals, {asked}")


def _refuse_other_data(run: RunFolder, other: RunFolder) -> None:
    if artifacts.read_spec(other).sha256 != artifacts.read_spec(run).sha256:
        raise _strange(other, "is of other data")


def _strange(other: RunFolder, reason: str) -> RunError:
    return RunError(
        f"The counterfactuals of {other.path} can't be used: it {reason}.",
        "Leave it out of pairs_from, or use the settings that it was made with.",
    )


def _teacher(run: RunFolder) -> tuple[str, int]:
    """Whose verdicts a run has: in other bits, or of other parts of long texts, they differ."""
    return read_teacher(run).identity, run.config.teacher.max_length
