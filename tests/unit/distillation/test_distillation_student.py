from pathlib import Path

import pytest
import torch

from codlocal.core.config import resolve
from codlocal.core.errors import RunError
from codlocal.distillation.composition import TrainingSet, TrainingText
from codlocal.distillation.student import StudentJob, hard_labels
from codlocal.distillation.student_record import RECORD_FILE, read_student

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
