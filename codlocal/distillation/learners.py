"""What an arm makes of its texts: a distilled student, its bare start, or a peer to beat."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from codlocal.core.console import Console
from codlocal.core.records import Teacher
from codlocal.distillation.arms import Arm
from codlocal.distillation.knowledge import Knowledge
from codlocal.distillation.peers import FrozenEncoder, fit_logistic
from codlocal.distillation.setfit_peer import train_setfit
from codlocal.distillation.starting import start_student
from codlocal.distillation.student import StudentJob, hard_labels, train_student
from codlocal.distillation.teacher_outputs import TeacherOutputs
from codlocal.models.student import load_student

_SURE = 5.0
"""How far a label's logit is above the others where the teacher's confidence is not to be known."""


@dataclass(frozen=True)
class Lesson:
    """What a learner works with.

    Attributes:
        job: the texts, the seed, and the base that students start from.
        knowledge: the teacher's outputs for those texts.
        encoder: the student's start with its features, shared by all seeds.
        folder: where a model may be kept.
        console: where progress is shown.

    """

    job: StudentJob
    knowledge: Knowledge
    encoder: FrozenEncoder
    folder: Path
    console: Console


def learn(arm: Arm, lesson: Lesson) -> Teacher:
    """Make the classifier of an arm.

    Raises:
        ModelError: a model can't be loaded, training broke down, or a package is missing.

    """
    if arm.soft_labels != "own":
        change = random_soft_labels if arm.soft_labels == "random" else no_soft_labels
        lesson = replace(lesson, knowledge=change(lesson.knowledge, lesson.job))
    return LEARNERS[arm.learner](lesson)


def random_soft_labels(knowledge: Knowledge, job: StudentJob) -> Knowledge:
    """Exchange the teacher's logits at random among the texts that it gives the same label."""
    ids = [text.id for text in job.training_set.texts]
    logits = knowledge.outputs.of(ids)
    labels = logits.argmax(axis=1)
    generator = np.random.default_rng(job.seed)
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        logits[places] = logits[generator.permutation(places)]
    rows = {one: row for row, one in enumerate(ids)}
    return replace(knowledge, outputs=TeacherOutputs(rows, logits))


def no_soft_labels(knowledge: Knowledge, job: StudentJob) -> Knowledge:
    """Leave of the teacher's logits its label, with one confidence for all texts."""
    ids = [text.id for text in job.training_set.texts]
    logits = knowledge.outputs.of(ids)
    labels = logits.argmax(axis=1)
    rows = {one: row for row, one in enumerate(ids)}
    alike = _SURE * np.eye(logits.shape[1], dtype=logits.dtype)[labels]
    return replace(knowledge, outputs=TeacherOutputs(rows, alike))


def _student(lesson: Lesson) -> Teacher:
    job = lesson.job
    train_student(job, lesson.knowledge, lesson.folder, lesson.console)
    return load_student(job.config, lesson.folder, job.labels)


def _start(lesson: Lesson) -> Teacher:
    return start_student(lesson.job.config, lesson.job.base, lesson.job.labels, lesson.job.seed)


def _logistic(lesson: Lesson) -> Teacher:
    texts = [text.text for text in lesson.job.training_set.texts]
    return fit_logistic(lesson.encoder, texts, _labels(lesson), len(lesson.job.labels))


def _setfit(lesson: Lesson) -> Teacher:
    job = lesson.job
    texts = [text.text for text in job.training_set.texts]
    start = start_student(job.config, job.base, job.labels, job.seed)
    steps = job.config.distillation.total_steps
    return train_setfit(start, texts, _labels(lesson), lesson.folder, steps=steps, seed=job.seed)


def _labels(lesson: Lesson) -> list[int]:
    ids = [text.id for text in lesson.job.training_set.texts]
    logits = torch.from_numpy(lesson.knowledge.outputs.of(ids))
    return [int(label) for label in hard_labels(lesson.job, logits)]


LEARNERS: Mapping[str, Callable[[Lesson], Teacher]] = {
    "student": _student,
    "start": _start,
    "logistic": _logistic,
    "setfit": _setfit,
}
"""What is made of an arm's texts, by the name in `Arm.learner`."""
