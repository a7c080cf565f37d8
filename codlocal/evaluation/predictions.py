"""What teacher and students say of each test text, kept on disk for inspection and for resuming."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from codlocal.core import artifacts, jsonl
from codlocal.core.console import Console, Task
from codlocal.core.errors import ModelError
from codlocal.core.records import Example, Row, Teacher
from codlocal.core.run import RunFolder
from codlocal.evaluation.metrics import Labels, Probabilities

_BATCH = 128


class Prediction(Row):
    """What one classifier says of one test text: the probabilities of all classes, as `label`.

    `gold` and `teacher` are the labels in the data and by the teacher. `model` is the hash of the
    classifier.
    """

    id: str
    gold: int
    teacher: int
    label: int
    probabilities: tuple[float, ...]
    model: str


@dataclass(frozen=True)
class TestSplit:
    """The test texts, and what the teacher says of them.

    Attributes:
        examples: the n test texts with their gold labels.
        teacher: the teacher's probabilities, shape [n, classes].

    """

    __test__ = False

    examples: Sequence[Example]
    teacher: Probabilities

    @property
    def gold(self) -> Labels:
        """The gold class indices, shape [n]."""
        return np.array([example.label for example in self.examples], dtype=np.int64)

    @property
    def teacher_accuracy(self) -> float:
        """The share of the texts that the teacher gives their gold label."""
        return float(np.mean(self.teacher.argmax(axis=1) == self.gold))

    @property
    def majority(self) -> float:
        """The share of the texts that have the commonest gold label."""
        return float(np.bincount(self.gold).max() / len(self.gold))


def teacher_split(
    run: RunFolder, identity: str, teacher: Callable[[], Teacher], console: Console
) -> TestSplit:
    """The test split with the teacher's predictions, for which it is asked once in a run.

    Args:
        run: a run whose teacher stage is done.
        identity: the teacher's hash.
        teacher: loads it, if it has to be asked.
        console: where progress is shown.

    Raises:
        RunError: the texts or the predictions are gone or damaged.
        ModelError: the teacher gives no valid probabilities.

    """
    examples = list(artifacts.read_examples(run, "test").values())
    path = run.file("predictions", "teacher.jsonl")
    rows = list(jsonl.read_rows(path, Prediction))
    if [(row.id, row.gold, row.model) for row in rows] == [
        (example.id, example.label, identity) for example in examples
    ]:
        return TestSplit(examples, _probabilities(rows))
    classes = len(artifacts.read_spec(run).label_names)
    with console.progress("Asking the teacher", len(examples)) as task:
        probabilities = predict(teacher(), examples, classes, "The teacher", task)
    split = TestSplit(examples, probabilities)
    store(path, split, probabilities, identity)
    return split


def stored(path: Path, split: TestSplit, model: str) -> Probabilities | None:
    """The probabilities in a predictions file, shape [n, classes].

    None if it isn't there, or is of another model (a hash), other data or another teacher.

    Raises:
        RunError: the file is damaged.

    """
    rows = list(jsonl.read_rows(path, Prediction))
    found = [(row.id, row.gold, row.teacher, row.model) for row in rows]
    labels = zip(split.examples, split.teacher.argmax(axis=1).tolist(), strict=True)
    if found != [(example.id, example.label, teacher, model) for example, teacher in labels]:
        return None
    return _probabilities(rows)


def store(path: Path, split: TestSplit, probabilities: Probabilities, model: str) -> None:
    """Write a predictions file; `probabilities` has the shape [n, classes], `model` is a hash."""
    jsonl.write_rows(path, _rows(split, probabilities, model))


def _probabilities(rows: Sequence[Prediction]) -> Probabilities:
    return np.array([row.probabilities for row in rows])


def _rows(split: TestSplit, probabilities: Probabilities, model: str) -> Iterator[Prediction]:
    teacher = split.teacher.argmax(axis=1).tolist()
    for example, its_label, row in zip(split.examples, teacher, probabilities, strict=True):
        yield Prediction(
            id=example.id,
            gold=example.label,
            teacher=its_label,
            label=int(row.argmax()),
            probabilities=tuple(row.tolist()),
            model=model,
        )


def predict(
    model: Teacher, examples: Sequence[Example], classes: int, name: str, task: Task
) -> Probabilities:
    """Ask a model for all texts, in batches, and advance the task by each text.

    Returns:
        Probabilities of shape [n, classes].

    Raises:
        ModelError: what it gives are no probabilities of that shape.

    """
    parts = []
    for start in range(0, len(examples), _BATCH):
        batch = examples[start : start + _BATCH]
        probabilities = model.predict_proba([example.text for example in batch])
        _refuse_bad(probabilities, (len(batch), classes), name)
        parts.append(probabilities)
        task.advance(len(batch))
    return np.concatenate(parts)


def _refuse_bad(probabilities: Probabilities, shape: tuple[int, int], name: str) -> None:
    if probabilities.shape != shape:
        raise ModelError(
            f"{name} gives probabilities of shape {list(probabilities.shape)}, not {list(shape)}.",
            "Its classes are not those of the dataset: make it again (--redo teacher or distill).",
        )
    if not np.isfinite(probabilities).all():
        raise ModelError(
            f"{name} gives probabilities that are not finite numbers.",
            "Its training diverged: lower its learning_rate, or use --set runtime.dtype=float32.",
        )
