"""The teacher's verdict on candidates: does the label flip, and how much was edited."""

import re
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from rapidfuzz.distance import Levenshtein

from codlocal.core.records import Candidate, Example, Verdict
from codlocal.core.records import Teacher as TeacherModel

_TOKEN = re.compile(r"\w+(?:['’\-]\w+)*|[^\w\s]")


def token_edits(original: str, edited: str) -> int:
    """Count the tokens, words and punctuation marks, that were changed, added or dropped."""
    return int(Levenshtein.distance(_TOKEN.findall(original), _TOKEN.findall(edited)))


def edit_distance(original: str, edited: str) -> float:
    """Token edits divided by the original's length in tokens.

    0 is a copy, 1 a rewrite of the whole; a much longer text can exceed 1. This is the closeness
    of the counterfactual literature.
    """
    return token_edits(original, edited) / max(len(_TOKEN.findall(original)), 1)


def judge(
    teacher: TeacherModel, examples: Mapping[str, Example], candidates: Sequence[Candidate]
) -> list[Verdict]:
    """One verdict per candidate, in order, from one batched call of the teacher.

    A candidate is flipped when the teacher's label is no longer the label that the teacher gave
    the original (`Candidate.source_label`).

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
        _verdict(candidate, examples[candidate.example_id].text, text, row)
        for candidate, text, row in zip(candidates, texts, probabilities, strict=True)
    ]


def _verdict(
    candidate: Candidate, original: str, text: str, probabilities: npt.NDArray[np.float64]
) -> Verdict:
    label = int(probabilities.argmax())
    return Verdict(
        candidate_id=candidate.id,
        example_id=candidate.example_id,
        probabilities=tuple(float(value) for value in probabilities),
        label=label,
        flipped=label != candidate.source_label,
        edits=token_edits(original, text),
        edit_distance=edit_distance(original, text),
    )
