"""The teacher's verdict on candidates: does the label flip, and how much was edited."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from rapidfuzz.distance import Levenshtein

from codlocal.core.records import Candidate, Example, Verdict
from codlocal.core.records import Teacher as TeacherModel
from codlocal.verification.tokens import repetitions, tokens
from codlocal.verification.vocabulary import Vocabulary


def token_edits(original: str, edited: str) -> int:
    """Count the tokens that were changed, added or dropped."""
    return int(Levenshtein.distance(tokens(original), tokens(edited)))


def edit_distance(original: str, edited: str) -> float:
    """Token edits divided by the original's length in tokens.

    0 is a copy, 1 a rewrite of the whole; a much longer text can exceed 1. This is the closeness
    of the counterfactual literature.
    """
    return token_edits(original, edited) / max(len(tokens(original)), 1)


def boundary_distance(probabilities: Sequence[float]) -> float:
    """How far the teacher is from the boundary: half the margin between its top two classes.

    With two classes this is |p - 0.5|; 0 is on the boundary, 0.5 as far as can be.
    """
    second, first = sorted(probabilities)[-2:]
    return (first - second) / 2


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
    return Verdict(
        candidate_id=candidate.id,
        example_id=candidate.example_id,
        probabilities=tuple(float(value) for value in probabilities),
        label=label,
        flipped=label != candidate.source_label,
        edits=token_edits(original, text),
        edit_distance=edit_distance(original, text),
        length=len(tokens(text)),
        original_length=len(tokens(original)),
        unknown=vocabulary.unknown(text) if vocabulary else (),
        broken_off=vocabulary.broken_off(original, text) if vocabulary else (),
        repeated=tuple(sorted(repetitions(text) - repetitions(original))),
    )
