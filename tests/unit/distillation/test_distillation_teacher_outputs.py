from pathlib import Path

import numpy as np
import pytest

from codlocal.core.console import Console
from codlocal.distillation.teacher_outputs import TeacherOutputs, teacher_outputs

TEXTS = {"a": "one", "b": "two", "c": "three"}


class CountingTeacher:
    """Gives each text its length as a logit, and counts the texts it was asked for."""

    def __init__(self) -> None:
        self.asked = 0

    def logits(self, texts: list[str]) -> np.ndarray:
        self.asked += len(texts)
        return np.array([[len(text), 0] for text in texts], dtype=np.float32)


@pytest.fixture
def teacher() -> CountingTeacher:
    return CountingTeacher()


def _outputs(folder: Path, teacher, texts=TEXTS, sha: str = "s") -> TeacherOutputs:
    return teacher_outputs(folder / "outputs", teacher, sha, texts, Console(-1))


def test_logits_are_found_by_id_in_any_order(tmp_path: Path, teacher):
    outputs = _outputs(tmp_path, teacher)
    assert outputs.of(["c", "a"]).tolist() == [[5, 0], [3, 0]]


def test_the_teacher_is_asked_once(tmp_path: Path, teacher):
    first = _outputs(tmp_path, teacher)
    second = _outputs(tmp_path, teacher)
    assert teacher.asked == 3
    np.testing.assert_array_equal(first.logits, second.logits)


@pytest.mark.parametrize(
    "change", [{"sha": "other"}, {"texts": {"a": "changed"}}, {"texts": {**TEXTS, "d": "new"}}]
)
def test_another_teacher_or_other_texts_are_computed_anew(tmp_path: Path, teacher, change):
    _outputs(tmp_path, teacher)
    teacher.asked = 0
    found = _outputs(tmp_path, teacher, **change)
    assert teacher.asked == len(change.get("texts", TEXTS))
    assert len(found.logits) == teacher.asked


@pytest.mark.parametrize("content", [None, b"", b"garbage" * 20])
def test_damaged_logits_are_computed_anew(tmp_path: Path, teacher, content):
    first = _outputs(tmp_path, teacher)
    path = tmp_path / "outputs" / "logits.safetensors"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    np.testing.assert_array_equal(_outputs(tmp_path, teacher).logits, first.logits)
    assert teacher.asked == 6
