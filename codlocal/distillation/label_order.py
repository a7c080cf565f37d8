"""Whether the classes of a teacher whose labels have no names stand in the order of the data's."""

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment

from codlocal.core.config import Config
from codlocal.core.console import Console
from codlocal.core.errors import ModelError
from codlocal.core.records import Example
from codlocal.models.classifier import Classifier

_ASKED = 200
"""Training texts that tell one order from another."""
_CLEARLY, _DEVIATIONS = 0.25, 3
"""In another order most have to be right before it is believed, and more by this share, or by so
many standard deviations of what guesses would give where the texts are few."""


def check_order(
    path: Path,
    names: Sequence[str],
    labels: tuple[str, ...],
    examples: Sequence[Example],
    config: Config,
    console: Console,
) -> None:
    """Refuse a teacher whose classes, taken in the data's order, fit it far worse than in another.

    Args:
        path: the teacher's folder.
        names: of its classes: LABEL_0, ...
        labels: of the data.
        examples: the training split, with gold labels.
        config: says how the teacher is loaded.
        console: is told what the classes are taken for.

    Raises:
        ModelError: that is so.

    """
    asked = random.Random("label order").sample(examples, min(_ASKED, len(examples)))  # noqa: S311
    teacher = Classifier.load(
        path,
        device=config.runtime.device,
        dtype=config.runtime.dtype,
        max_length=config.teacher.max_length,
        label_names=labels,
        quantization=config.teacher.quantization,
    )
    found = teacher.logits([example.text for example in asked]).argmax(axis=1)
    counts = np.zeros((len(labels), len(labels)), dtype=int)
    np.add.at(counts, ([example.label for example in asked], found), 1)
    rows, columns = linear_sum_assignment(counts, maximize=True)
    right, best = counts.trace() / len(asked), counts[rows, columns].sum() / len(asked)
    meant = dict(zip(columns.tolist(), rows.tolist(), strict=True))
    if best <= 0.5 or best - right < max(_CLEARLY, _DEVIATIONS / len(asked) ** 0.5):
        console.info(
            f"The teacher's labels are taken for the data's in their order, "
            f"{_said(names, labels)}: right for {right:.0%} of {len(asked)} training texts."
        )
        return
    order = [labels[meant[at]] for at in range(len(labels))]
    raise ModelError(
        f"The teacher's labels have no names of their own, and in the data's order they are right "
        f"for {right:.0%} of {len(asked)} training texts, in another for {best:.0%}: "
        f"{_said(names, order)}.",
        f"If they mean that, name them so in {path / 'config.json'} (id2label and label2id).",
    )


def _said(names: Sequence[str], labels: Sequence[str]) -> str:
    return ", ".join(f"{name} for {label}" for name, label in zip(names, labels, strict=True))
