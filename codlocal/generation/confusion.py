"""Which labels are confused with which, by the teacher or by a student, on the training texts."""

from itertools import islice
from pathlib import Path

from codlocal.core import artifacts
from codlocal.core.records import Teacher
from codlocal.core.run import RunFolder
from codlocal.generation.targets import Matrix, confusion_matrix

_TEXTS = 2000
"""Training texts by which confused labels are found."""


def confusion_of(run: RunFolder, teacher: Teacher) -> Matrix | None:
    """The confusion on texts spread evenly over the training split, if the run's targets need it.

    Raises:
        ModelError: the student that the settings name can't be loaded.

    """
    config = run.config.generator
    if config.targets != "confusion":
        return None
    count = sum(1 for _ in artifacts.stream_examples(run, "train"))
    every = -(-count // _TEXTS)
    chosen = islice(artifacts.stream_examples(run, "train"), 0, None, every)
    texts = [example.text for example in chosen]
    probabilities = teacher.predict_proba(texts)
    labels = [int(label) for label in probabilities.argmax(axis=1)]
    if config.confused_student:
        probabilities = _student(run, Path(config.confused_student)).predict_proba(texts)
    return confusion_matrix(labels, probabilities)


def _student(run: RunFolder, folder: Path) -> Teacher:
    from codlocal.models.classifier import Classifier

    return Classifier.load(
        folder,
        device=run.config.runtime.device,
        dtype=run.config.runtime.dtype,
        max_length=run.config.distillation.max_length,
        label_names=artifacts.read_spec(run).label_names,
    )
