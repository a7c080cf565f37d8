"""One student: its texts, its training, and the folder it is published as."""

from dataclasses import dataclass
from pathlib import Path

import torch

from codlocal.core import hashing, jsonl
from codlocal.core.config import Config
from codlocal.core.console import Console
from codlocal.core.records import LossTerms, Row
from codlocal.distillation.checkpoints import remove_checkpoints
from codlocal.distillation.composition import TrainingSet
from codlocal.distillation.fitting import fit
from codlocal.distillation.loop import LoopSettings
from codlocal.distillation.objectives import LossTensors, ObjectiveInputs, distillation_loss
from codlocal.distillation.teacher_outputs import TeacherOutputs
from codlocal.models.classifier import Classifier
from codlocal.models.folders import build_folder, model_hash
from codlocal.models.initialise import new_classifier

RECORD_FILE = "codlocal.json"


class StudentRecord(Row):
    """What a student was made of; lies beside its weights.

    `pairs`, `singles` and `fill` count the groups of its texts (see `composition`);
    `max_length` is the number of tokens it reads of a text.
    """

    arm: str
    seed: int
    texts: int
    pairs: int
    singles: int
    fill: int
    base: str
    teacher_sha256: str
    method: str
    steps: int
    max_length: int
    final_loss: LossTerms


@dataclass(frozen=True)
class StudentJob:
    """One student to be trained: the arm, the seed and the texts, and the base to start from."""

    config: Config
    base: Path
    labels: tuple[str, ...]
    arm: str
    seed: int
    training_set: TrainingSet
    teacher_hash: str

    @property
    def name(self) -> str:
        """The name of the student's folder."""
        return f"{self.arm}-seed{self.seed}"


def train_student(
    job: StudentJob, outputs: TeacherOutputs, folder: Path, console: Console
) -> StudentRecord:
    """Train the student of a job into `folder`, unless it is there already; return its record.

    Raises:
        ModelError: the student's model can't be loaded, or training broke down.

    """
    if folder.joinpath(RECORD_FILE).is_file():
        return _read(folder)

    def build(partial: Path) -> None:
        student = new_classifier(
            job.base,
            job.labels,
            layers=job.config.distillation.student_layers,
            seed=job.seed,
            device=job.config.runtime.device,
            max_length=job.config.distillation.max_length,
        )
        terms = distil(student, job, outputs, partial, console)
        student.save(partial)
        remove_checkpoints(partial)
        record = _record(job, terms)
        jsonl.write_json(partial / RECORD_FILE, record.model_dump(mode="json"))

    build_folder(folder, build, resumable=True)
    return _read(folder)


def distil(
    student: Classifier, job: StudentJob, outputs: TeacherOutputs, folder: Path, console: Console
) -> LossTerms:
    """Train a student in place on the teacher's logits; return the loss of the last step.

    `folder` gets the training log and the checkpoints.

    Raises:
        ModelError: the loss is not finite.

    """
    texts = job.training_set.texts
    teacher_logits = torch.from_numpy(outputs.of([text.id for text in texts]))
    labels = hard_labels(job, teacher_logits).to(student.device)
    targets = teacher_logits.to(student.device)

    def loss(logits: torch.Tensor, batch: list[int]) -> LossTensors:
        inputs = ObjectiveInputs(logits, targets[batch], labels[batch])
        return distillation_loss(inputs, job.config.distillation)

    settings = _loop_settings(job, teacher_logits, labels)
    with console.progress(f"Training {job.name}", settings.steps) as task:
        return fit(student, job.training_set, loss, settings, job.config.runtime, folder, task)


def hard_labels(job: StudentJob, teacher_logits: torch.Tensor) -> torch.Tensor:
    """The hard label of every text of a job: the teacher's, or gold where the settings say so.

    Args:
        job: the job with n texts.
        teacher_logits: float [n, classes].

    Returns:
        int64 [n].

    """
    labels = teacher_logits.argmax(dim=-1)
    if job.config.distillation.hard_labels == "gold":
        for index, text in enumerate(job.training_set.texts):
            # A counterfactual has no gold label: its flip is the teacher's verdict.
            if text.gold is not None:
                labels[index] = text.gold
    return labels


def _loop_settings(
    job: StudentJob, teacher_logits: torch.Tensor, labels: torch.Tensor
) -> LoopSettings:
    settings = job.config.distillation
    key = hashing.of_value(
        [
            settings.model_dump(mode="json"),
            model_hash(job.base),
            [[text.id, text.text] for text in job.training_set.texts],
            [list(group) for group in job.training_set.groups],
            teacher_logits.tolist(),
            labels.tolist(),
            job.seed,
        ]
    )
    return LoopSettings(
        steps=settings.steps,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        seed=job.seed,
        key=key,
    )


def _record(job: StudentJob, terms: LossTerms) -> StudentRecord:
    settings, training_set = job.config.distillation, job.training_set
    return StudentRecord(
        arm=job.arm,
        seed=job.seed,
        texts=len(training_set.texts),
        pairs=training_set.pairs,
        singles=training_set.singles,
        fill=training_set.fill,
        base=settings.student,
        teacher_sha256=job.teacher_hash,
        method=settings.method,
        steps=settings.steps,
        max_length=settings.max_length,
        final_loss=terms,
    )


def _read(folder: Path) -> StudentRecord:
    return StudentRecord.model_validate_json(folder.joinpath(RECORD_FILE).read_bytes())
