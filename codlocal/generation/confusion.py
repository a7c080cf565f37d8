"""Which labels are confused with which, by the teacher or by a student, on the training texts."""

from itertools import islice
from pathlib import Path

from codlocal.core import artifacts
from codlocal.core.records import Teacher
from codlocal.core.run import RunFolder
from codlocal.generation.targets import Matrix, confusion_matrix
from codlocal.models.student import load_student

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
        names = artifacts.read_spec(run).label_names
        student = load_student(run.config, Path(config.confused_student), names)
        probabilities = student.predict_proba(texts)
    return confusion_matrix(labels, probabilities)
