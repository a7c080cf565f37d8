"""The teacher's verdict on candidates: does the label flip, and how much was edited."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from rapidfuzz.distance import Levenshtein

from codlocal.core.records import Candidate, Example, Verdict
from codlocal.core.records import Teacher as TeacherModel
from codlocal.core.statistics import class_gap
from codlocal.verification.tokens import repetitions, tokens
from codlocal.verification.vocabulary import Vocabulary


def boundary_distance(probabilities: Sequence[float]) -> float:
    """How far the teacher is from the boundary: half the margin between its top two classes.

    With two classes this is |p - 0.5|; 0 is on the boundary, 0.5 as far as can be.
    """
    return float(class_gap(np.array([probabilities]))[0]) / 2


def judge(
    teacher: TeacherModel,
    examples: Mapping[str, Example],
    candidates: Sequence[Candidate],
    vocabulary: Vocabulary | None = None,
) -> list[Verdict]:
    """One verdict per candidate, in order, from one batched call of the teacher.

    A candidate is flipped when the teacher's label is no longer the label that the teacher gave
    the original (`Candidate.source_label`).

    Args:
        teacher: who is asked.
        examples: the originals, by id.
        candidates: rows that have a text.
        vocabulary: that of the training texts; without it no word counts as unknown, and no
            phrase as broken off.

    Raises:
        ValueError: a candidate has no text.

    """
    texts = []
    for candidate in candidates:
        if candidate.text is None:
            raise ValueError(f"candidate {candidate.id} has no text to judge")
        texts.append(candidate.text)
    if not texts:
        return []
    probabilities = teacher.predict_proba(texts)
    return [
        _verdict(candidate, examples[candidate.example_id].text, row, vocabulary)
        for candidate, row in zip(candidates, probabilities, strict=True)
    ]


def _verdict(
    candidate: Candidate,
    original: str,
    probabilities: npt.NDArray[np.float64],
    vocabulary: Vocabulary | None,
) -> Verdict:
    label = int(probabilities.argmax())
    text = candidate.text or ""
    before, after = tokens(original), tokens(text)
    edits = Levenshtein.distance(before, after)
    return Verdict(
        candidate_id=candidate.id,
        example_id=candidate.example_id,
        probabilities=tuple(float(value) for value in probabilities),
        label=label,
        flipped=label != candidate.source_label,
        edits=edits,
        edit_distance=edits / max(len(before), 1),
        length=len(after),
        original_length=len(before),
        unknown=vocabulary.unknown(original, text) if vocabulary else (),
        broken_off=vocabulary.broken_off(original, text) if vocabulary else (),
        repeated=tuple(sorted(repetitions(text) - repetitions(original))),
    )
