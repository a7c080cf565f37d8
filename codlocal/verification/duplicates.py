"""Texts and edits that are all but the same, so that one of them is enough."""

from collections.abc import Mapping, Sequence

from rapidfuzz import fuzz, process
from rapidfuzz.distance import Levenshtein

from codlocal.core.texts import normalised
from codlocal.verification.tokens import tokens

_NEAR_TEXT = 90.0
"""From this similarity on (of 100) two whole texts are near-duplicates."""

_NEAR_EDIT = 80.0
"""From this similarity on two edits of one text are near-duplicates: "horrible" and "horribly"."""


def similarity(text: str, others: Sequence[str]) -> float:
    """How similar a text is to the nearest of some others, from 0 to 1 (a copy).

    The measure is 1 - insertions and deletions of characters / length of both texts together.
    """
    found = process.extractOne(text, others, scorer=fuzz.ratio)
    return found[1] / 100 if found else 0.0


def near_text(text: str, others: Mapping[str, str]) -> str | None:
    """The key of the text that this one all but repeats, the nearest of `others`."""
    found = process.extractOne(text, others, scorer=fuzz.ratio, score_cutoff=_NEAR_TEXT)
    return None if found is None else found[2]


def alike(original: str, first: str, second: str) -> bool:
    """Whether of two edits of one text only one is of use; the texts are as they were written."""
    return near_edit(*map(normalised, (original, first, second)))


def near_edit(original: str, first: str, second: str) -> bool:
    """Whether two edits of one text put all but the same words in place of the same words.

    Only what was taken out and put in is compared: two edits of a long text share nearly all of
    their words, and are two edits all the same.
    """
    edits = zip(_edit(original, first), _edit(original, second), strict=True)
    return all(fuzz.ratio(one, other) >= _NEAR_EDIT for one, other in edits)


def _edit(original: str, edited: str) -> tuple[str, str]:
    """The words that an edit took out, and those that it put in."""
    before, after = tokens(original), tokens(edited)
    changed = [step for step in Levenshtein.opcodes(before, after) if step.tag != "equal"]
    out = [word for step in changed for word in before[step.src_start : step.src_end]]
    put = [word for step in changed for word in after[step.dest_start : step.dest_end]]
    return " ".join(out), " ".join(put)
