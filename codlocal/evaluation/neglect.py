"""Whether a student leaves a class out, which its agreement alone hides if classes are uneven."""

from collections import Counter
from collections.abc import Iterable

import numpy as np

from codlocal.evaluation.metrics import Probabilities

_COMMON = 0.05
"""A class that the teacher gives to a smaller share of the texts is rare, and may be left out."""
_LEFT_OUT = 0.2
"""A student that gives a class to fewer texts than this share of the teacher's leaves it out."""


def left_out(student: Probabilities, teacher: Probabilities) -> list[int]:
    """The classes that the teacher gives to many of the texts and the student to next to none.

    Both are of shape [n, classes].
    """
    classes = teacher.shape[1]
    said, due = (np.bincount(one.argmax(axis=1), minlength=classes) for one in (student, teacher))
    lost = (due >= _COMMON * len(teacher)) & (said < _LEFT_OUT * due)
    return [int(label) for label in np.flatnonzero(lost)]


def warning(arm: str, found: Iterable[list[int]], label_names: tuple[str, ...]) -> str | None:
    """What to tell the user of the classes that each seed's student left out; None if none did."""
    seeds = list(found)
    counts = Counter(label for lost in seeds for label in lost)
    if not counts:
        return None
    classes = ", ".join(
        f"{label_names[label]} ({count} of {len(seeds)} seeds)"
        for label, count in sorted(counts.items())
    )
    return (
        f"The {arm} hardly ever gives a class that the teacher gives often: {classes}. Its "
        "agreement says little; look at macro_f1, and give it more texts or steps."
    )
