import numpy as np
import pytest
from evaluation_rig import FakeStudent, N, prepare

from codlocal.core import jsonl
from codlocal.core.console import Console
from codlocal.core.errors import ModelError
from codlocal.core.records import Example
from codlocal.core.run import RunFolder
from codlocal.evaluation.predictions import Prediction, teacher_split


def asked(path, config, identity, teacher=None):
    """The split, and how often the teacher had to be loaded for it."""
    loaded = []

    def load():
        loaded.append(1)
        return teacher or FakeStudent(30)

    with RunFolder.open(path, config) as run:
        return teacher_split(run, identity, load, Console(-1)), len(loaded)


def test_the_teacher_is_asked_once(tmp_path):
    config = prepare(tmp_path)
    split, loaded = asked(tmp_path, config, "a" * 64)
    assert loaded == 1
    assert (split.teacher_accuracy, split.majority) == (0.9, 0.5)
    rows = list(jsonl.read_rows(tmp_path / "predictions" / "teacher.jsonl", Prediction))
    assert [row.probabilities for row in rows] == [tuple(row) for row in split.teacher.tolist()]
    again, loaded = asked(tmp_path, config, "a" * 64)
    assert loaded == 0
    assert np.array_equal(again.teacher, split.teacher)


def test_another_teacher_is_asked_anew(tmp_path):
    config = prepare(tmp_path)
    asked(tmp_path, config, "a" * 64)
    split, loaded = asked(tmp_path, config, "b" * 64, FakeStudent(60))
    assert (loaded, split.teacher_accuracy) == (1, 0.8)


def test_other_texts_are_asked_about_anew(tmp_path):
    config = prepare(tmp_path)
    asked(tmp_path, config, "a" * 64)
    texts = [Example(id=f"test-{n}", text=f"text {n}", label=0) for n in range(N)]
    jsonl.write_rows(tmp_path / "data" / "test.jsonl", texts)
    split, loaded = asked(tmp_path, config, "a" * 64)
    assert (loaded, split.majority) == (1, 1.0)


def test_a_teacher_of_other_classes_is_refused(tmp_path):
    config = prepare(tmp_path)
    with pytest.raises(ModelError, match="The teacher gives probabilities of shape"):
        asked(tmp_path, config, "a" * 64, FakeStudent(0, classes=3))
    assert not (tmp_path / "predictions").exists()
