"""Where the next counterfactuals are worth most: texts on which student and teacher part."""

from collections.abc import Sequence
from itertools import zip_longest

import numpy as np
import numpy.typing as npt

from codlocal.core.statistics import class_gap


def focus(
    student: npt.NDArray[np.float64], teacher: npt.NDArray[np.float64], count: int
) -> list[int]:
    """The texts whose teacher label the student believes in least, least first.

    Disagreement comes before doubt: with two classes, a student that contradicts the teacher gives
    its label less than 0.5. Asking for counterfactuals there is the future work that arXiv
    2510.21631 names.

    Args:
        student: class probabilities of n texts, shape [n, classes].
        teacher: the same of the teacher.
        count: how many texts to choose.

    Returns:
        Positions of at most `count` texts.

    """
    believed = student[np.arange(len(student)), teacher.argmax(axis=1)]
    return [int(at) for at in np.argsort(believed, kind="stable")[:count]]


def by_margin(labels: Sequence[int], probabilities: npt.NDArray[np.float64]) -> list[int]:
    """Texts in the order in which to flip them: the teacher's closest calls first, class by class.

    Args:
        labels: of n texts; the classes take turns, so that every prefix stays as balanced as the
            whole allows.
        probabilities: the teacher's, shape [n, classes].

    Returns:
        The n positions, reordered.

    """
    queues: dict[int, list[int]] = {}
    for at in np.argsort(class_gap(probabilities), kind="stable"):
        queues.setdefault(labels[at], []).append(int(at))
    turns = zip_longest(*(queues[label] for label in sorted(queues)))
    return [at for turn in turns for at in turn if at is not None]
