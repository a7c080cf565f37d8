"""How the training texts use their words: by it made-up words and broken-off phrases are told."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from unicodedata import category

from codlocal.verification.tokens import tokens, words

_COMMON = 40
"""From so many uses on a word is judged by where it stands: one word in eight or nine ends a phrase
(reviews and news), so that of one that may do so 40 uses are hardly ever all within."""
_SELDOM = 0.02
"""The share of its uses that may be slips: end a phrase with a word that ends none, or part words
that belong together."""
_BOUND = 15
"""From so many uses on a word may be found to belong to the one that follows it."""
_OPENING = frozenset("\"'*_#@&~+=<^`\\/")
"""Marks with which something may begin; so do brackets, opening quotes and signs of currency."""


@dataclass(frozen=True)
class Vocabulary:
    """The words of some texts.

    Attributes:
        known: all of them.
        endings: how their contractions end: "n't" of "isn't".
        inner: common ones that something always follows, such as "the" and "very".
        bound: those that one and the same word nearly always follows: "unable" of "unable to".

    """

    known: frozenset[str]
    endings: frozenset[str]
    inner: frozenset[str]
    bound: Mapping[str, str]

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Vocabulary":
        """The vocabulary of some texts, read once."""
        known: set[str] = set()
        uses: Counter[str] = Counter()
        ends: Counter[str] = Counter()
        followers = _Followers()
        for text in texts:
            known.update(words(text))
            found = _followed(text)
            uses.update(word for word, _ in found)
            ends.update(word for word, after in found if _ends(after))
            followers.count(found)
        inner = (one for one, n in uses.items() if n >= _COMMON and ends[one] <= _SELDOM * n)
        endings = frozenset(one for word in known if (one := _ending(word)) != word)
        return cls(frozenset(known), endings, frozenset(inner), followers.bound(uses))

    def unknown(self, original: str, edited: str) -> tuple[str, ...]:
        """The words that neither a text nor the original has.

        A contraction that ends as a known one does is known.
        """
        own = set(words(original))
        new = (one for one in words(edited) if one not in self.known and one not in own)
        return tuple(one for one in new if _ending(one) not in self.endings)

    def broken_off(self, original: str, edited: str) -> tuple[str, ...]:
        """The words that an edit parts from what has to follow them.

        They are inner words that end a phrase, and bound ones before another word than theirs, as
        far as they are no such in the original.
        """
        before, after = (
            Counter(word for word, then in _followed(text) if self._is_parted(word, then))
            for text in (original, edited)
        )
        return tuple(sorted(after - before))

    def _is_parted(self, word: str, after: str) -> bool:
        ends_a_phrase = word in self.inner and _ends(after)
        return ends_a_phrase or self.bound.get(word, after) != after


class _Followers:
    """Which word follows each word most: a vote for it, or one against, at every use.

    The vote of Boyer and Moore keeps one candidate a word, however many texts there are; one that
    leads by all but twice `_SELDOM` of the uses has all but `_SELDOM` of them.
    """

    def __init__(self) -> None:
        self._leads: dict[str, tuple[str, int]] = {}

    def count(self, found: Iterable[tuple[str, str]]) -> None:
        """Count the votes of words and what follows them."""
        for word, after in found:
            who, lead = self._leads.get(word, (after, 0))
            if who == after:
                self._leads[word] = who, lead + 1
            else:
                self._leads[word] = (who, lead - 1) if lead else (after, 1)

    def bound(self, uses: Mapping[str, int]) -> dict[str, str]:
        """The words that are bound, and to which other word each is."""
        enough = 1 - 2 * _SELDOM
        return {
            word: who
            for word, (who, lead) in self._leads.items()
            if uses[word] >= _BOUND and lead >= enough * uses[word] and who[0].isalnum()
        }


def _ending(word: str) -> str:
    """A contraction from the letter before the apostrophe on; any other word is itself.

    "do n't" ends in " n't", so that of texts which have it so "don't" is no word.
    """
    apart = word.find(" ")
    return word[apart if apart >= 0 else max(word.find("'") - 1, 0) :]


def _followed(text: str) -> list[tuple[str, str]]:
    """The words of a text, each with the token that follows it."""
    found = pairwise([*tokens(text.casefold()), "."])
    return [(one, after) for one, after in found if one[0].isalnum()]


def _ends(token: str) -> bool:
    """Whether a token is a mark with which a phrase ends."""
    mark = token[0]
    begins = mark in _OPENING or category(mark) in {"Ps", "Pi", "Sc"}
    return not (mark.isalnum() or begins)
