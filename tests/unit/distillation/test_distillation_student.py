from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import tiny_model

from codlocal.core.config import resolve
from codlocal.core.console import Console
from codlocal.core.errors import RunError
from codlocal.distillation import student as student_module
from codlocal.distillation.composition import TrainingSet, TrainingText
from codlocal.distillation.knowledge import Knowledge
from codlocal.distillation.starting import start_student
from codlocal.distillation.student import StudentJob, hard_labels, train_student
from codlocal.distillation.student_record import RECORD_FILE, StudentRecord, read_student
from codlocal.distillation.teacher_outputs import TeacherOutputs

TEXTS = (
    TrainingText("a", "good", gold=1),
    TrainingText("a/0", "bad", gold=None),
    TrainingText("b", "awful", gold=0),
)
TEACHER_LOGITS = torch.tensor([[3.0, 0.0], [3.0, 0.0], [0.0, 3.0]])


@pytest.mark.parametrize(("choice", "expected"), [("teacher", [0, 0, 1]), ("gold", [1, 0, 0])])
def test_gold_labels_count_for_originals_only(choice: str, expected: list[int]):
    config = resolve([{"distillation": {"hard_labels": choice}}])
    training_set = TrainingSet(TEXTS, ((0, 1), (2,)))
    job = StudentJob(config, Path(), ("n", "p"), "student", 0, training_set, "sha")
    assert hard_labels(job, TEACHER_LOGITS).tolist() == expected
    assert job.name == "student-seed0"


def test_a_record_of_another_version_is_a_run_error(tmp_path: Path):
    tmp_path.joinpath(RECORD_FILE).write_text('{"arm": "student"}')
    with pytest.raises(RunError, match="of another version") as caught:
        read_student(tmp_path)
    assert "--redo distill" in caught.value.hint


def _train(folder: Path, training_set: TrainingSet, **settings: object) -> StudentRecord:
    """Train a student for a step under a teacher that calls originals "p" and their flips "n"."""
    base, labels = tiny_model(folder / "base"), ("n", "p")
    settings = {"student_init": "pretrained", "steps": 1, **settings}
    config = resolve([{"distillation": settings, "runtime": {"device": "cpu"}}])
    texts = training_set.texts
    rows = {text.id: row for row, text in enumerate(texts)}
    logits = np.array([[0, -3 if one.gold is None else 3] for one in texts], dtype=np.float32)
    job = StudentJob(config, base, labels, "student", 0, training_set, "sha")
    teacher = start_student(config, base, labels, 0)
    knowledge = Knowledge(TeacherOutputs(rows, logits), teacher)
    return train_student(job, knowledge, folder / "student", Console(-1))


@pytest.mark.parametrize("kept", [0, 1000])
def test_a_student_without_whole_weights_is_trained_again(tmp_path: Path, kept: int):
    training_set = TrainingSet(TEXTS, ((0, 1), (2,)))
    first = _train(tmp_path, training_set)
    path = tmp_path / "student" / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:kept]) if kept else path.unlink()
    assert _train(tmp_path, training_set) == first
    assert path.read_bytes() == whole
    stamp = path.stat().st_mtime_ns
    _train(tmp_path, training_set)
    assert path.stat().st_mtime_ns == stamp


def test_the_record_counts_the_groups_of_the_texts(tmp_path: Path):
    training_set = TrainingSet(TEXTS, ((0, 1), (2,)), pairs=1, singles=3, fill=5)
    found = _train(tmp_path, training_set)
    assert (found.texts, found.pairs, found.singles, found.fill) == (3, 1, 3, 5)
    assert read_student(tmp_path / "student") == found


def test_evidence_is_trusted_by_originals_left_out_with_all_their_flips(tmp_path, monkeypatch):
    asked = []
    trust = student_module.trust_in_evidence
    monkeypatch.setattr(
        student_module, "trust_in_evidence", lambda *given: asked.append(given[2]) or trust(*given)
    )
    flips = [TrainingText(f"a/{at}", f"bad {at}", gold=None) for at in range(3)]
    texts = (TEXTS[0], *flips, TEXTS[2])
    _train(tmp_path, TrainingSet(texts, ((0, 1), (2, 3), (4,)), unsplit=((0, 1, 2, 3), (4,))))
    assert asked == [((0, 1, 2, 3), (4,))]


@pytest.mark.parametrize(("length", "warned"), [(8, True), (64, False)])
def test_flips_beyond_what_a_student_reads_are_told_of(tmp_path, capsys, length, warned):
    texts = (
        TrainingText("a", "the food was " * 5 + "good", gold=1),
        TrainingText("a/0", "the food was " * 5 + "bad", gold=None),
        TrainingText("a/1", "bad " + "the food was " * 5, gold=None),
    )
    _train(tmp_path, TrainingSet(texts, ((0, 1, 2),), pairs=2), max_length=length)
    told = "student-seed0 can't tell 1 of its counterfactuals from their originals"
    assert (told in capsys.readouterr().err) == warned
