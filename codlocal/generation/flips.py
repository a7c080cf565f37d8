"""Verified flips as demonstrations: which of them are most like a text, and what they changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property

from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfVectorizer

from codlocal.generation.constraint import words
from codlocal.generation.prompts import Flip

_SHOWN = 2
"""Flips of each direction that a prompt shows."""
_LONGEST_SHOWN = 200
"""Characters of the longest text that serves as a demonstration."""
_POOL = 500
"""Pairs that are compared with a text; enough to have a similar one, whatever the run's size."""


@dataclass(frozen=True)
class Solved:
    """A verified flip of this run: two texts and the teacher's labels of them."""

    text: str
    edited: str
    source_label: int
    target_label: int

    @property
    def reverse(self) -> "Solved":
        """The same pair, read from its other end."""
        return Solved(self.edited, self.text, self.target_label, self.source_label)

    def named(self, label_names: Sequence[str]) -> Flip:
        """The pair as a prompt shows it."""
        return Flip(
            before=label_names[self.source_label],
            after=label_names[self.target_label],
            marked=mark_changes(self.text, self.edited, "[{}]"),
            blanked=mark_changes(self.text, self.edited, "___"),
            text=self.text,
            edited=self.edited,
        )


class FlipPool:
    """Some verified flips, each read from both ends, to be looked up by likeness."""

    def __init__(self, solved: Sequence[Solved]) -> None:
        short = [one for one in solved if len(one.text) <= _LONGEST_SHOWN]
        self._flips = [end for one in short[:_POOL] for end in (one, one.reverse)]

    def nearest(self, text: str, source: int, target: int) -> list[Solved]:
        """Flips between two labels, in both directions, most like a text, the nearest last."""
        chosen: list[tuple[float, Solved]] = []
        likeness = self._likeness(text)
        for direction in ((source, target), (target, source)):
            fitting = [
                (value, one)
                for value, one in zip(likeness, self._flips, strict=True)
                if (one.source_label, one.target_label) == direction
                and text not in {one.text, one.edited}
            ]
            chosen += sorted(fitting, key=lambda pair: -pair[0])[:_SHOWN]
        return [one for _, one in sorted(chosen, key=lambda pair: pair[0])]

    @cached_property
    def _index(self) -> tuple[TfidfVectorizer, csr_matrix]:
        vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True)
        return vectorizer, vectorizer.fit_transform([one.text for one in self._flips])

    def _likeness(self, text: str) -> list[float]:
        """The cosine of character n-grams with the first text of every flip."""
        if not self._flips:
            return []
        vectorizer, matrix = self._index
        return [float(value) for value in (matrix @ vectorizer.transform([text]).T).toarray()[:, 0]]


def mark_changes(text: str, edited: str, form: str) -> str:
    """The text with each run of words that an edit changed put into a form, such as "[{}]"."""
    spans, others = words(text), words(edited)
    old = [text[span.start : span.end] for span in spans]
    new = [edited[span.start : span.end] for span in others]
    parts, at = [], 0
    for kind, first, last, _, _ in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            continue
        if kind == "insert":
            place = spans[first].start if first < len(spans) else len(text)
            parts += [text[at:place], form.format(""), " " if first < len(spans) else ""]
            at = place
        else:
            begin, end = spans[first].start, spans[last - 1].end
            parts += [text[at:begin], form.format(text[begin:end])]
            at = end
    return "".join([*parts, text[at:]])
