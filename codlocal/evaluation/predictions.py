"""What each student says of each test text, kept on disk for inspection and for resuming."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from codlocal.core import jsonl
from codlocal.core.console import Task
from codlocal.core.errors import ModelError
from codlocal.core.records import Example, Row, Teacher
from codlocal.evaluation.metrics import Labels

_BATCH = 128


class Prediction(Row):
    """What one student says of one test text. `probability` is that of the predicted label."""

    id: str
    gold: int
    teacher: int
    label: int
    probability: float


@dataclass(frozen=True)
class TestSplit:
    """The test texts with both kinds of labels.

    Attributes:
        examples: the n test texts with their gold labels.
        teacher: the teacher's class indices, shape [n].
        classes: how many classes there are.

    """

    __test__ = False

    examples: Sequence[Example]
    teacher: Labels
    classes: int

    @property
    def gold(self) -> Labels:
        """The gold class indices, shape [n]."""
        return np.array([example.label for example in self.examples], dtype=np.int64)


def stored(path: Path, split: TestSplit) -> Labels | None:
    """The labels in a predictions file, shape [n]; None if it isn't there or is of other data.

    Raises:
        RunError: the file is damaged.

    """
    rows = list(jsonl.read_rows(path, Prediction))
    found = [(row.id, row.gold, row.teacher) for row in rows]
    labels = zip(split.examples, split.teacher.tolist(), strict=True)
    if found != [(example.id, example.label, teacher) for example, teacher in labels]:
        return None
    return np.array([row.label for row in rows], dtype=np.int64)


def predict(model: Teacher, split: TestSplit, name: str, task: Task) -> list[Prediction]:
    """Ask a model for all test texts, in batches, and advance the task by each text.

    Raises:
        ModelError: what it gives are no probabilities of shape [n, classes].

    """
    rows: list[Prediction] = []
    for start in range(0, len(split.examples), _BATCH):
        batch = split.examples[start : start + _BATCH]
        probabilities = model.predict_proba([example.text for example in batch])
        _refuse_bad(probabilities, len(batch), split.classes, name)
        for example, teacher, row in zip(
            batch, split.teacher[start : start + _BATCH], probabilities, strict=True
        ):
            rows.append(
                Prediction(
                    id=example.id,
                    gold=example.label,
                    teacher=int(teacher),
                    label=int(row.argmax()),
                    probability=float(row.max()),
                )
            )
        task.advance(len(batch))
    return rows


def _refuse_bad(probabilities: npt.NDArray[np.float64], n: int, classes: int, name: str) -> None:
    if probabilities.shape != (n, classes):
        raise ModelError(
            f"{name} gives probabilities of shape {list(probabilities.shape)}, not {[n, classes]}.",
            "Its classes are not those of the dataset: distil it again with --redo distill.",
        )
    if not np.isfinite(probabilities).all():
        raise ModelError(
            f"{name} gives probabilities that are not finite numbers.",
            "Its training diverged: lower distillation.learning_rate, or use dtype float32.",
        )
