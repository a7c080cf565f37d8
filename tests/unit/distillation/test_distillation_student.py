from pathlib import Path

import pytest
import torch

from codlocal.core.config import resolve
from codlocal.distillation.composition import TrainingSet, TrainingText
from codlocal.distillation.student import StudentJob, hard_labels

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
