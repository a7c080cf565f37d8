"""How the training texts use their words: by it made-up words and broken-off phrases are told."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from unicodedata import category

from codlocal.verification.tokens import tokens, words

_COMMON = 40
"""From so many uses on a word is judged by where it stands: one word in eight or nine ends a phrase
(reviews and news), so that of one that may do so 40 uses are hardly ever all within."""
_SELDOM = 0.02
"""The share of its uses that may end a phrase, by slips, with a word that ends none."""
_OPENING = frozenset("\"'*_#@&~+=<^`\\/")
"""Marks with which something may begin; so do brackets, opening quotes and signs of currency."""


@dataclass(frozen=True)
class Vocabulary:
    """The words of some texts.

    Attributes:
        known: all of them, and how their contractions end: "n't" of "isn't".
        inner: common ones that something always follows, such as "the" and "very".

    """

    known: frozenset[str]
    inner: frozenset[str]

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Vocabulary":
        """The vocabulary of some texts, read once."""
        known: set[str] = set()
        uses: Counter[str] = Counter()
        ends: Counter[str] = Counter()
        for text in texts:
            known.update(words(text))
            found = _followed(text)
            uses.update(word for word, _ in found)
            ends.update(word for word, is_last in found if is_last)
        inner = (one for one, n in uses.items() if n >= _COMMON and ends[one] <= _SELDOM * n)
        return cls(frozenset(known | {_ending(word) for word in known}), frozenset(inner))

    def unknown(self, text: str) -> tuple[str, ...]:
        """The words that no text has; a contraction that ends as a known one does is known."""
        new = (one for one in words(text) if one not in self.known)
        return tuple(one for one in new if _ending(one) not in self.known)

    def broken_off(self, original: str, edited: str) -> tuple[str, ...]:
        """The inner words that end a phrase in an edited text, and don't in its original."""
        before, after = (
            Counter(word for word, is_last in _followed(text) if is_last and word in self.inner)
            for text in (original, edited)
        )
        return tuple(sorted(after - before))


def _ending(word: str) -> str:
    """A contraction from the letter before the apostrophe on; any other word is itself."""
    return word[max(word.find("'") - 1, 0) :]


def _followed(text: str) -> list[tuple[str, bool]]:
    """The words of a text, and of each whether a phrase ends with it."""
    found = pairwise([*tokens(text.casefold()), "."])
    return [(one, _ends(after)) for one, after in found if one[0].isalnum()]


def _ends(token: str) -> bool:
    """Whether a token is a mark with which a phrase ends."""
    mark = token[0]
    begins = mark in _OPENING or category(mark) in {"Ps", "Pi", "Sc"}
    return not (mark.isalnum() or begins)
