"""The teacher stage: use a classifier as it is, or fine-tune a body on the training split."""

import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from codlocal.core import jsonl
from codlocal.core.artifacts import read_examples, read_spec
from codlocal.core.config import Config
from codlocal.core.console import Console
from codlocal.core.errors import DataError
from codlocal.core.records import Example, LossTerms
from codlocal.core.run import RunFolder
from codlocal.distillation.checkpoints import remove_checkpoints
from codlocal.distillation.composition import baseline_set
from codlocal.distillation.fitting import fit, logits_step
from codlocal.distillation.label_order import check_order
from codlocal.distillation.loop import LoopSettings
from codlocal.distillation.objectives import task_loss
from codlocal.distillation.starting import find_start
from codlocal.models import store
from codlocal.models.classifier import Classifier
from codlocal.models.configuration import read_label_names
from codlocal.models.folders import model_hash
from codlocal.models.initialise import new_classifier
from codlocal.models.labels import are_generic, column_order
from codlocal.models.locate import has_head, resolve
from codlocal.models.seen_tokens import only_seen_tokens
from codlocal.models.teacher import TEACHER_FILE, TeacherRecord
from codlocal.models.trainable import check_start


def run_teacher(run: RunFolder, console: Console) -> None:
    """Find or make the run's teacher and write `teacher.json`; return at once if that is done.

    Raises:
        ModelError: a model can't be had, the teacher has other labels than the data, the student
            can't be made as asked, or training failed.

    """
    if run.is_done("teacher"):
        return
    with run.stage("teacher") as facts:
        settings = run.config.teacher
        labels = read_spec(run).label_names
        base = resolve(settings.model, console=console, offline=run.config.runtime.offline)
        check_student(run.config, base, console)
        trained = not has_head(base)
        if trained:
            path = _fine_tuned(run, base, labels, facts, console)
        else:
            path = base.resolve()
            names = read_label_names(path)
            column_order(names, labels)
            if are_generic(names) and not are_generic(labels):
                examples = list(read_examples(run, "train").values())
                check_order(path, names, labels, examples, run.config, console)
        record = TeacherRecord(
            path=str(path),
            trained=trained,
            base=settings.model,
            sha256=model_hash(path),
            labels=labels,
            quantization=settings.quantization,
        )
        jsonl.write_json(run.file(TEACHER_FILE), record.model_dump(mode="json"))
        facts.update(record.model_dump(mode="json"))


def check_student(config: Config, base: Path, console: Console) -> None:
    """Refuse a student that can't be made as asked now, not when its CFEs are written.

    Args:
        config: says what student it is to be.
        base: the teacher's model.
        console: where downloads are shown.

    Raises:
        ModelError: that is so.

    """
    settings = config.distillation
    _, folder = find_start(config, base, console)
    check_start(folder, layers=settings.student_layers, pooling=settings.pooling)


def may_get(run: RunFolder, known: TeacherRecord, console: Console) -> bool:
    """Whether a run whose data are there may get a teacher that is on record, as far as is known.

    It is not, if only training tells; nothing is trained to find out.

    Raises:
        DataError: there is nothing to train on.
        ModelError: the teacher's model can't be had.

    """
    settings = run.config.teacher
    if settings.quantization != known.quantization:
        return False
    found = base = resolve(settings.model, console=console, offline=run.config.runtime.offline)
    if not has_head(base):
        _, key = _training(run, base, read_spec(run).label_names)
        trained = store.find(key)
        if trained is None:
            return not known.trained or Path(known.path).name == key
        found = trained
    return model_hash(found) == known.sha256


def _training(run: RunFolder, base: Path, labels: tuple[str, ...]) -> tuple[list[Example], str]:
    """What a teacher is fine-tuned on, and the key that it is kept by."""
    examples = list(read_examples(run, "train").values())
    if not examples:
        raise DataError("The training split is empty.", "Check the dataset and its filters.")
    examples = training_rows(examples, run.config.teacher.max_rows, run.config.teacher.seed)
    rows = [(example.text, example.label) for example in examples]
    return examples, store.teacher_key(base, rows, labels, run.config.teacher)


def _fine_tuned(
    run: RunFolder, base: Path, labels: tuple[str, ...], facts: dict[str, Any], console: Console
) -> Path:
    examples, key = _training(run, base, labels)
    found = store.find(key)
    facts.update(rows=len(examples), reused=found is not None)
    if found:
        console.detail(f"The teacher was fine-tuned before: {found}")
        return found

    def build(folder: Path) -> None:
        classifier = new_classifier(
            base,
            labels,
            seed=run.config.teacher.seed,
            device=run.config.runtime.device,
            max_length=run.config.teacher.max_length,
        )
        terms = fine_tune(classifier, examples, run.config, key, folder, console)
        facts["final_loss"] = round(terms.total, 6)
        classifier.save(folder)
        remove_checkpoints(folder)

    return store.publish(key, build, console)


def training_rows(examples: Sequence[Example], most: int | None, seed: int) -> list[Example]:
    """At most `most` of the examples, drawn at random for the seed, in their order."""
    if most is None or most >= len(examples):
        return list(examples)
    drawn = random.Random(f"teacher-{seed}").sample(range(len(examples)), most)  # noqa: S311
    return [examples[index] for index in sorted(drawn)]


def fine_tune(
    classifier: Classifier,
    examples: Sequence[Example],
    config: Config,
    key: str,
    folder: Path,
    console: Console,
) -> LossTerms:
    """Train a fresh classifier in place on gold labels; return the loss of the last step.

    `folder` gets the training log and the checkpoints; `key` names the training.

    Raises:
        ModelError: the loss is not finite.

    """
    settings = LoopSettings(
        steps=config.teacher.epochs * math.ceil(len(examples) / config.teacher.batch_size),
        batch_size=config.teacher.batch_size,
        learning_rate=config.teacher.learning_rate,
        seed=config.teacher.seed,
        key=key,
    )
    labels = torch.tensor([example.label for example in examples], device=classifier.device)
    texts = baseline_set(examples)
    step_loss = logits_step(
        classifier, texts, lambda logits, batch: task_loss(logits, labels[batch])
    )
    progress = console.progress("Fine-tuning the teacher", settings.steps)
    with only_seen_tokens(classifier, [one.text for one in texts.texts]), progress as task:
        return fit(classifier.model, step_loss, texts, settings, config.runtime, folder, task)
