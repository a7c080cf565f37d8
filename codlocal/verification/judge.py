"""The teacher's verdict on candidates: does the label flip, and how much was edited."""

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import regex
from rapidfuzz.distance import Levenshtein

from codlocal.core.records import Candidate, Example, Verdict
from codlocal.core.records import Teacher as TeacherModel
from codlocal.core.scripts import CHARACTER, UNSPACED

_ALL_LETTERS = r"\p{L}\p{N}\p{M}_"
_LETTERS = rf"[[{_ALL_LETTERS}]--[{UNSPACED}]]+"
_TOKEN = regex.compile(
    rf"{CHARACTER}|{_LETTERS}(?:['’\-]{_LETTERS})*|[^{_ALL_LETTERS}{UNSPACED}\s]", regex.V1
)
_LONGEST_REPETITION = 4
_WORD = regex.compile(rf"{CHARACTER}|{_LETTERS}(?:['’]{_LETTERS})*", regex.V1)
_UNSPACED = regex.compile(CHARACTER)


def tokens(text: str) -> list[str]:
    """Split a text into words and punctuation marks.

    A character of a script without spaces is a word.
    """
    found: list[str] = _TOKEN.findall(text)
    return found


def words(text: str) -> list[str]:
    """The words of a text without case; numbers are none, and a hyphen parts two."""
    found = _WORD.findall(text.casefold().replace("’", "'"))
    return [word for word in found if not any(map(str.isdigit, word))]


def vocabulary(texts: Iterable[str]) -> frozenset[str]:
    """All words of some texts, and how their contractions end: "n't" of "isn't"."""
    found = {word for text in texts for word in words(text)}
    return frozenset(found | {_ending(word) for word in found})


def _ending(word: str) -> str:
    """A contraction from the letter before the apostrophe on; any other word is itself."""
    return word[max(word.find("'") - 1, 0) :]


def repetitions(text: str) -> Counter[str]:
    """What a text says twice in a row, and how often: words, or runs of a few, in lower case.

    A doubled character of a script without spaces is a word, not a slip.
    """
    found = [token.casefold() for token in tokens(text)]
    return Counter(
        " ".join(found[at : at + size])
        for size in range(1, _LONGEST_REPETITION + 1)
        for at in range(len(found) - 2 * size + 1)
        if found[at : at + size] == found[at + size : at + 2 * size]
        and all(token[0].isalnum() for token in found[at : at + size])
        and not (size == 1 and _UNSPACED.fullmatch(found[at]))
    )


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
    known: Container[str] | None = None,
) -> list[Verdict]:
    """One verdict per candidate, in order, from one batched call of the teacher.

    A candidate is flipped when the teacher's label is no longer the label that the teacher gave
    the original (`Candidate.source_label`).

    Args:
        teacher: who is asked.
        examples: the originals, by id.
        candidates: rows that have a text.
        known: the words of the training texts, as `vocabulary` gives them; without them no word
            counts as unknown.

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
        _verdict(candidate, examples[candidate.example_id].text, row, known)
        for candidate, row in zip(candidates, probabilities, strict=True)
    ]


def _verdict(
    candidate: Candidate,
    original: str,
    probabilities: npt.NDArray[np.float64],
    known: Container[str] | None,
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
        unknown=() if known is None else _unknown(text, known),
        repeated=tuple(sorted(repetitions(text) - repetitions(original))),
    )


def _unknown(text: str, known: Container[str]) -> tuple[str, ...]:
    """The words that are not known; a contraction that ends as a known one does is known."""
    return tuple(one for one in words(text) if one not in known and _ending(one) not in known)
