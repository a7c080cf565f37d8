from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import tiny_model

from codlocal.core.config import resolve
from codlocal.core.console import Console
from codlocal.core.records import Example
from codlocal.distillation.arms import ARMS
from codlocal.distillation.composition import TrainingSet, TrainingText, baseline_set
from codlocal.distillation.knowledge import Knowledge
from codlocal.distillation.learners import Lesson, learn, no_soft_labels, random_soft_labels
from codlocal.distillation.student import StudentJob
from codlocal.distillation.teacher_outputs import TeacherOutputs
from codlocal.models.classifier import Classifier

NAMES = ("no", "yes")
QUIET = Console(-1)


@given(st.lists(st.sampled_from([0, 1, 2]), min_size=1, max_size=12), st.integers(0, 5))
def test_soft_labels_are_exchanged_within_a_label_only(labels, seed):
    rows = {f"train-{n}": n for n in range(len(labels))}
    noise = np.random.default_rng(1).random((len(labels), 3))
    logits = (np.eye(3)[labels] * 2 + noise).astype(np.float32)
    before = logits.copy()
    texts = baseline_set([Example(id=one, text=one, label=0) for one in rows])
    job = SimpleNamespace(training_set=texts, seed=seed)
    found = random_soft_labels(Knowledge(TeacherOutputs(rows, logits), None), job).outputs
    changed = found.of(list(rows))
    assert changed.argmax(axis=1).tolist() == labels
    assert sorted(map(tuple, changed.tolist())) == sorted(map(tuple, before.tolist()))
    assert np.array_equal(logits, before)
    again = random_soft_labels(Knowledge(TeacherOutputs(rows, logits), None), job).outputs
    assert np.array_equal(again.logits, found.logits)


def test_soft_labels_are_exchanged_as_the_seed_has_it():
    rows = {f"train-{n}": n for n in range(8)}
    logits = np.stack([np.arange(8.0), np.full(8, 9.0)], axis=1).astype(np.float32)
    texts = baseline_set([Example(id=one, text=one, label=0) for one in rows])
    first, second = (
        random_soft_labels(
            Knowledge(TeacherOutputs(rows, logits), None),
            SimpleNamespace(training_set=texts, seed=seed),
        ).outputs.logits
        for seed in (0, 1)
    )
    assert not np.array_equal(first, logits)
    assert not np.array_equal(first, second)


def test_without_soft_labels_the_teachers_label_alone_is_known():
    rows = {"a": 0, "b": 1, "c": 2}
    logits = np.array([[0.1, 0.2, 0.0], [3.0, -9.0, 2.9], [0.0, 8.0, 1.0]], dtype=np.float32)
    texts = baseline_set([Example(id=one, text=one, label=0) for one in ("c", "a", "b")])
    job = SimpleNamespace(training_set=texts, seed=0)
    knowledge = Knowledge(TeacherOutputs(rows, logits), None)
    found = no_soft_labels(knowledge, job).outputs.of(["a", "b", "c"])
    assert found.argmax(axis=1).tolist() == [1, 0, 1]
    assert np.array_equal(found[0], found[2])
    assert sorted(found[0]) == sorted(found[1])
    surer = Knowledge(TeacherOutputs(rows, logits * 3), None)
    assert np.array_equal(no_soft_labels(surer, job).outputs.of(["a", "b", "c"]), found)


@pytest.mark.parametrize("warm_start", ["none", "head"])
def test_alpha0_learns_the_same_of_teachers_that_give_the_same_labels(tmp_path, warm_start):
    arm, base = ARMS["alpha0"], tiny_model(tmp_path / "base")
    # Weights that a grid may vary, and originals to which the teacher gives one label.
    varied = {"pair_weight": 1.0, "interpolation_weight": 10.0, "recombined": 2}
    given = {"student_init": "pretrained", "warm_start": warm_start, "steps": 2, **varied}
    config = resolve([{"distillation": given, "runtime": {"device": "cpu"}}])
    settings = config.distillation.model_copy(update=dict(arm.settings))
    words = ["good food", "bad food", "great place", "awful place"]
    texts = [TrainingText(one, one, None if at % 2 else at // 2) for at, one in enumerate(words)]
    job = StudentJob(
        config.model_copy(update={"distillation": settings}),
        base,
        NAMES,
        "alpha0",
        0,
        TrainingSet(tuple(texts), ((0, 1), (2, 3)), pairs=2),
        "sha",
    )

    def student(seed: int, *sure: float) -> np.ndarray:
        folder = tmp_path / f"teacher-{seed}"
        teacher = Classifier.load(tiny_model(folder, labels=NAMES, seed=seed), device="cpu")
        logits = np.array([[-one, one] for one in sure], dtype=np.float32)
        rows = {one: row for row, one in enumerate(words)}
        knowledge = Knowledge(TeacherOutputs(rows, logits), teacher)
        return learn(arm, _lesson(job, knowledge, tmp_path / f"{seed}")).predict_proba(words)

    assert np.array_equal(student(0, 0.1, -2.0, 0.5, -0.2), student(1, 9.0, -0.5, 3.0, -4.0))


def _lesson(job: StudentJob, knowledge: Knowledge, folder: Path) -> Lesson:
    return Lesson(job, knowledge, encoder=None, folder=folder / "student", console=QUIET)
