"""The distillation stage: per seed one student on verified pairs and one on plain originals."""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from codlocal.core import processes
from codlocal.core.artifacts import read_examples, read_few_shot, read_pairs, read_spec
from codlocal.core.config import Config
from codlocal.core.console import Console
from codlocal.core.run import RunFolder
from codlocal.distillation.composition import TrainingSet, baseline_set, full_set, paired_set
from codlocal.distillation.knowledge import gather
from codlocal.distillation.starting import find_start
from codlocal.distillation.student import StudentJob, train_student
from codlocal.distillation.student_record import read_student
from codlocal.models.classifier import Classifier
from codlocal.models.folders import copy_folder
from codlocal.models.teacher import read_teacher

_COMPARED = 1000
_STARTS = {"pretrained": "pretrained start", "teacher": "made of the teacher's layers"}


def run_distill(run: RunFolder, teacher: Classifier, console: Console) -> None:
    """Train every student that is not there yet, and copy the first seed's to `student/`.

    Of several processes each trains a share of the students.

    Raises:
        ModelError: the student's model can't be had, or training broke down.
        RunError: an earlier stage's rows are missing or damaged.

    """
    if run.is_done("distill"):
        return
    with run.stage("distill") as facts:
        sets = _training_sets(run, console)
        config, base = find_start(run.config, read_teacher(run).folder, console)
        _say(config, sets, console)
        if run.config.distillation.teacher_share and not config.distillation.teacher_share:
            console.warn(
                "Nothing goes back by distillation.teacher_share: that is for students made of the "
                "teacher's layers, not in 4 bits."
            )
        labels = read_spec(run).label_names
        texts = {text.id: text.text for one in sets.values() for text in one.texts}
        with processes.first_goes_first("what the teacher says"):
            knowledge = gather(run, config, teacher, base, texts, console)
        if knowledge.states is not None:
            facts["states"] = "per token" if knowledge.same_tokens else "mean per text"
        unseen = _unseen(run)
        identity = read_teacher(run).identity
        jobs = [
            StudentJob(config, base, labels, arm, seed, texts_of_one, identity, unseen)
            for (arm, seed), texts_of_one in sets.items()
        ]
        for job in jobs[processes.index() :: processes.count()]:
            train_student(job, knowledge, run.file("students", job.name), console)
        processes.wait("the students")
        if processes.is_first():
            facts["students"] = _publish(run, [job.name for job in jobs])


def _publish(run: RunFolder, names: Sequence[str]) -> dict[str, Any]:
    """Copy the first student to `student/`; return the records of all, by name."""
    copy_folder(run.file("students", names[0]), run.file("student"))
    records = {name: read_student(run.file("students", name)) for name in names}
    return {name: record.model_dump(mode="json") for name, record in records.items()}


def _unseen(run: RunFolder) -> tuple[str, ...]:
    """The texts on which students in 4 bits are compared with themselves: no student is chosen."""
    if run.config.distillation.quantization == "none":
        return ()
    rows = read_examples(run, "test").values()
    return tuple(row.text for row in islice(rows, _COMPARED))


def _say(config: Config, sets: Mapping[tuple[str, int], TrainingSet], console: Console) -> None:
    """Tell how students are made, and what each arm gets to see, over its seeds."""
    settings = config.distillation
    back = f", {settings.teacher_share:.0%} of the way back" if settings.teacher_share else ""
    console.info(
        f"Students: {_STARTS[settings.student_init]}, warm start {settings.warm_start}, "
        f"method {settings.method}, {settings.total_steps} steps{back}"
    )
    for arm in dict.fromkeys(arm for arm, _ in sets):
        found = [one for (name, _), one in sets.items() if name == arm]
        originals = _range([len(one.texts) - one.pairs for one in found])
        pairs = _range([one.pairs for one in found])
        console.info(f"Texts of each {arm}: {originals} originals, {pairs} counterfactuals")


def _range(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low}-{high}"


def _training_sets(run: RunFolder, console: Console) -> dict[tuple[str, int], TrainingSet]:
    """The texts of every student, by arm and seed; the first seed's student comes first."""
    examples = read_examples(run, "train")
    pairs = read_pairs(run)
    largest = run.config.distillation.batch_size
    whole = run.config.generator.budget == "max"
    sets = {}
    for split in read_few_shot(run):
        originals = [examples[one] for one in split.ids]
        student = full_set(originals, pairs, largest) if whole else paired_set(originals, pairs)
        if not student.pairs:
            console.warn(
                f"Seed {split.seed} has no verified pair: its student is trained on originals only."
            )
        sets["student", split.seed] = student
        if run.config.distillation.baseline:
            sets["baseline", split.seed] = baseline_set(originals)
    return sets
