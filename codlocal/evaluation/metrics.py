"""The figures of one classifier on one test split."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from codlocal.core.records import Metrics
from codlocal.core.statistics import class_gap
from codlocal.evaluation.calibration import brier_score, expected_calibration_error

MEASURES = (
    "accuracy",
    "macro_f1",
    "matthews",
    "teacher_agreement",
    "calibration_error",
    "brier",
    "boundary_agreement",
)
"""The fields of `Metrics` that are figures of merit."""

BOUNDARY_GAP = 0.6
"""A text is near the teacher's boundary if its two likeliest classes are at most this far apart.

With two classes that is a probability between 0.2 and 0.8.
"""

Labels = npt.NDArray[np.int64]
Probabilities = npt.NDArray[np.float64]


def score(probabilities: Probabilities, gold: Labels, teacher: Probabilities) -> Metrics:
    """Compare a classifier with the gold labels and with the teacher.

    Macro F1 is the plain mean over the classes that occur in `gold` or are predicted: a class in
    neither has no F1. The Matthews coefficient is 0 where only one class occurs.

    Args:
        probabilities: the classifier's, shape [n, classes].
        gold: the class indices in the dataset, shape [n].
        teacher: the teacher's probabilities, shape [n, classes].

    Raises:
        ValueError: the shapes don't fit each other, or there are no texts.

    """
    if not len(gold) or probabilities.shape != teacher.shape or len(gold) != len(teacher):
        shapes = f"{probabilities.shape}, {gold.shape} and {teacher.shape}"
        raise ValueError(f"probabilities and labels of shapes {shapes} can't be compared")
    from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

    predicted = probabilities.argmax(axis=1)
    one_class = len(np.union1d(predicted, gold)) == 1
    agrees, unsure = predicted == teacher.argmax(axis=1), near_boundary(teacher)
    return Metrics(
        accuracy=float(accuracy_score(gold, predicted)),
        macro_f1=float(f1_score(gold, predicted, average="macro", zero_division=0.0)),
        matthews=0.0 if one_class else float(matthews_corrcoef(gold, predicted)),
        teacher_agreement=float(np.mean(agrees)),
        calibration_error=expected_calibration_error(probabilities, gold),
        brier=brier_score(probabilities, gold),
        boundary_agreement=float(np.mean(agrees[unsure])) if unsure.any() else None,
        boundary_n=int(unsure.sum()),
        n=len(gold),
    )


def near_boundary(teacher: Probabilities) -> npt.NDArray[np.bool_]:
    """Which texts lie near the teacher's boundary (see `BOUNDARY_GAP`), [n, classes] to [n]."""
    # A hair is added because 0.8 - 0.2 is more than 0.6 in floating point.
    near: npt.NDArray[np.bool_] = class_gap(teacher) <= BOUNDARY_GAP + 1e-9
    return near


def mean(scores: Sequence[Metrics]) -> Metrics:
    """The mean of every figure over seeds that share one test split and one teacher."""
    figures = {
        name: float(np.mean(values)) for name in MEASURES if (values := column(scores, name))
    }
    return scores[0].model_copy(update=figures)


def column(scores: Sequence[Metrics], name: str) -> list[float]:
    """One figure of every seed; empty where the test split can't give it."""
    values = [getattr(row, name) for row in scores]
    return [] if None in values else values
