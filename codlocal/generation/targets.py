"""Which labels an original is to be flipped into: the runner-up, all others, a confused one."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from codlocal.core.sections import Targets

Matrix = npt.NDArray[np.float64]


def choose_targets(
    rule: Targets, probabilities: Matrix, confusion: Matrix | None
) -> list[list[int]]:
    """The target labels of each original.

    Args:
        rule: "runner-up" is the second label of the teacher for that text, "all" every label but
            the first, "confusion" the label with which the first is most often confused.
        probabilities: the teacher's, shape [originals, classes].
        confusion: `confusion_matrix`, for the last rule.

    """
    ranked = np.argsort(-probabilities, axis=1, kind="stable")
    if rule == "all":
        return [[int(label) for label in row[1:]] for row in ranked]
    if rule == "confusion" and confusion is not None:
        return [[_confused(confusion[row[0]], row)] for row in ranked]
    return [[int(row[1])] for row in ranked]


def _confused(shares: npt.NDArray[np.float64], ranked: npt.NDArray[np.int64]) -> int:
    """The other label with the largest share; the runner-up where there was nothing to learn."""
    others = ranked[1:]
    return int(others[np.argmax(shares[others])])


def confusion_matrix(labels: Sequence[int], probabilities: Matrix) -> Matrix:
    """How a classifier's probability is spread over the labels, by the teacher's label.

    Args:
        labels: the teacher's label of each text.
        probabilities: of the classifier in question, shape [texts, classes]: a student's, or for
            want of one the teacher's own, whose doubts show which labels lie close together.

    Returns:
        Row s has the mean probabilities of the texts with label s, or zeros if there are none;
        shape [classes, classes].

    """
    matrix = np.zeros((probabilities.shape[1], probabilities.shape[1]))
    chosen = np.asarray(labels)
    for label in np.unique(chosen):
        matrix[label] = probabilities[chosen == label].mean(axis=0)
    return matrix
