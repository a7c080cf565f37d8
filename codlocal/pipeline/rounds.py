"""Further rounds: counterfactuals where student and teacher still part, then a new student.

Round n > 1 is an ordinary run folder, `RUN/rounds/N`: the data and the teacher of the run, the
pairs of the rounds before, and the texts to flip next. Those are chosen for each seed by its own
student, from its k labelled texts and their counterfactuals; the test split has no say.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from codlocal.core import artifacts, jsonl, processes
from codlocal.core.config import Config
from codlocal.core.console import Console
from codlocal.core.errors import ConfigError
from codlocal.core.jsonl import RowT
from codlocal.core.records import Candidate, CounterfactualPair, Example, Teacher, Verdict
from codlocal.core.run import RunFolder
from codlocal.distillation.focus import focus
from codlocal.evaluation.report import read_metrics
from codlocal.models.folders import copy_file
from codlocal.models.student import load_student
from codlocal.models.teacher import TEACHER_FILE, load_teacher
from codlocal.pipeline.replays import store_of
from codlocal.pipeline.session import Session

FOLDER = "rounds"
AttemptT = TypeVar("AttemptT", Candidate, Verdict)


def check_rounds(config: Config, rounds: int) -> None:
    """Refuse further rounds that could not add anything, or that were not recorded.

    Raises:
        ConfigError: the budget leaves no room for more counterfactuals, or the run to be replayed
            has fewer rounds.

    """
    if rounds == 1:
        return
    if config.generator.budget != "max":
        raise ConfigError(
            "Further rounds add counterfactuals, and the paper's budget has no room for them.",
            "Add --budget max.",
        )
    if config.runtime.replay:
        for number in range(2, rounds + 1):
            store_of(_recorded(config.runtime.replay, number))


def refine(run: RunFolder, rounds: int, console: Console) -> list[dict[str, Any]]:
    """Bring every round of a finished run to its end.

    Returns:
        One row a round, the run itself first: its number, its folder, how many counterfactuals its
        students saw over all seeds, and its metrics.

    """
    rows = [_row(1, run)]
    before = run
    for number in range(2, rounds + 1):
        console.info(f"Round {number}: counterfactuals where the student parts with the teacher")
        with RunFolder.open(round_folder(run, number), _settings(run.config, number)) as child:
            if processes.is_first() and not child.is_done("teacher"):
                _prepare(child, before, number)
            processes.wait(f"the texts of round {number}")
            Session(child, console).advance("evaluate")
            rows.append(_row(number, child))
        before = child
    return rows


def round_folder(run: RunFolder, number: int) -> Path:
    """Where a further round of a run is."""
    return run.file(FOLDER, str(number))


def _settings(config: Config, number: int) -> Config:
    """The run's settings, with replies of the round's own; few new pairs are no error here."""
    seed, replay = config.generator.seed + number - 1, config.runtime.replay
    recorded = _recorded(replay, number) if replay else None
    updates = {
        "generator": config.generator.model_copy(update={"seed": seed}),
        "verification": config.verification.model_copy(update={"min_pairs": 0}),
        "distillation": config.distillation.model_copy(update={"baseline": False}),
        "runtime": config.runtime.model_copy(update={"replay": recorded}),
    }
    return config.model_copy(update=updates)


def _recorded(replay: str, number: int) -> str:
    """The folder with the replies of a round of the run to be replayed."""
    return str(store_of(replay).parent / FOLDER / str(number))


def _row(number: int, run: RunFolder) -> dict[str, Any]:
    students = run.facts("distill")["students"]
    counterfactuals = sum(one["pairs"] for one in students.values())
    return {
        "round": number,
        "run": str(run.path),
        "counterfactuals": counterfactuals,
        "metrics": read_metrics(run),
    }


def _prepare(child: RunFolder, before: RunFolder, number: int) -> None:
    with child.stage("data") as facts:
        facts.update(before.facts("data"))
        for parts in (artifacts.TRAIN, artifacts.TEST, artifacts.FEW_SHOT, artifacts.SPEC):
            copy_file(before.file(*parts), child.file(*parts))
        chosen = [
            row.model_copy(update={"id": artifacts.id_in_round(row.id, number)})
            for row in _focus(before, load_teacher(before))
        ]
        pairs = _so_far(before, artifacts.EARLIER_PAIRS, CounterfactualPair)
        jsonl.write_rows(child.file(*artifacts.EARLIER_PAIRS), pairs)
        names = {artifacts.flipped_text(row.id): row.id for row in chosen}
        candidates = _so_far(before, artifacts.EARLIER_CANDIDATES, Candidate)
        jsonl.write_rows(child.file(*artifacts.EARLIER_CANDIDATES), _renamed(candidates, names))
        verdicts = _so_far(before, artifacts.EARLIER_VERDICTS, Verdict)
        jsonl.write_rows(child.file(*artifacts.EARLIER_VERDICTS), _renamed(verdicts, names))
        jsonl.write_rows(child.file(*artifacts.FOCUS), chosen)
    with child.stage("teacher") as facts:
        facts.update(before.facts("teacher"))
        copy_file(before.file(TEACHER_FILE), child.file(TEACHER_FILE))


def _so_far(run: RunFolder, earlier: tuple[str, str], row_type: type[RowT]) -> list[RowT]:
    """The rows of the rounds before a run, and its own."""
    places = (run.file(*earlier), run.file(earlier[-1]))
    return [row for place in places for row in jsonl.read_rows(place, row_type)]


def _renamed(rows: Iterable[AttemptT], names: Mapping[str, str]) -> list[AttemptT]:
    """What was tried, under the ids that texts have in a round that flips them again."""
    own = ((row, artifacts.flipped_text(row.example_id)) for row in rows)
    return [row.model_copy(update={"example_id": names.get(text, text)}) for row, text in own]


def _focus(before: RunFolder, teacher: Teacher) -> list[Example]:
    """The texts to flip next: k/2 a seed, each once."""
    names = artifacts.read_spec(before).label_names
    chosen: dict[str, Example] = {}
    for seed, texts in _known_texts(before):
        folder = before.file("students", f"student-seed{seed}")
        student = load_student(before.config, folder, names)
        words = [text.text for text in texts]
        found = focus(
            student.predict_proba(words),
            teacher.predict_proba(words),
            before.config.dataset.k // 2,
        )
        chosen.update((texts[at].id, texts[at]) for at in found)
    return list(chosen.values())


def _known_texts(run: RunFolder) -> Iterator[tuple[int, list[Example]]]:
    """Per seed its labelled texts and their counterfactuals, which have the teacher's label."""
    train, pairs = artifacts.read_examples(run, "train"), artifacts.read_pairs(run)
    for split in artifacts.read_few_shot(run):
        written = [
            Example(id=pair.candidate_id, text=pair.counterfactual, label=pair.counterfactual_label)
            for one in split.ids
            for pair in pairs.get(one, ())
        ]
        yield split.seed, [*(train[one] for one in split.ids), *written]
