"""The figures of one classifier on one test split."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from codlocal.core.records import Metrics

MEASURES = ("accuracy", "macro_f1", "matthews", "teacher_agreement")
"""The fields of `Metrics` that are rates, in the order in which they are shown."""

Labels = npt.NDArray[np.int64]


def score(predicted: Labels, gold: Labels, teacher: Labels) -> Metrics:
    """Compare predicted labels with the gold labels and with the teacher's.

    Macro F1 is the plain mean over the classes that occur in `gold` or `predicted`: a class in
    neither has no F1. The Matthews coefficient is 0 where only one class occurs.

    Args:
        predicted: the classifier's class indices, shape [n].
        gold: the class indices in the dataset, shape [n].
        teacher: the teacher's class indices, shape [n].

    Raises:
        ValueError: the shapes differ, or there are no texts.

    """
    if not len(gold) or not predicted.shape == gold.shape == teacher.shape:
        shapes = f"{predicted.shape}, {gold.shape} and {teacher.shape}"
        raise ValueError(f"labels of shapes {shapes} can't be compared")
    from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

    one_class = len(np.union1d(predicted, gold)) == 1
    return Metrics(
        accuracy=float(accuracy_score(gold, predicted)),
        macro_f1=float(f1_score(gold, predicted, average="macro", zero_division=0.0)),
        matthews=0.0 if one_class else float(matthews_corrcoef(gold, predicted)),
        teacher_agreement=float(np.mean(predicted == teacher)),
        n=len(gold),
    )


def mean(scores: Sequence[Metrics]) -> Metrics:
    """The mean of every figure over seeds that share one test split."""
    figures = {name: float(np.mean([getattr(it, name) for it in scores])) for name in MEASURES}
    return Metrics(**figures, n=scores[0].n)
