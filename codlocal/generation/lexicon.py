"""The words of the training texts, and what each of them says to the teacher.

Real words, in the language, spelling and register of the data: they show where a text can be
turned, and they are what a guided slot may hold. Only texts are read here, no labels.
"""

from collections import Counter
from collections.abc import Iterable
from functools import cache, cached_property

import numpy as np
import numpy.typing as npt
import regex

from codlocal.core.records import Teacher
from codlocal.generation.constraint import words

_PLAIN = regex.compile(r"[\p{L}\p{M}']+")

_VOCABULARY = 2000
"""Words that are looked at; more are rare words, about which a teacher knows little."""

_COMMON = 100
"""The most frequent words, most of them function words; Zipf's first hundred are half of a text."""

_ASKED_AGAIN = 300
_STRONGEST = 72
_SPEAKING = 28
"""Of the strongest words the most frequent: a grammar draws words by their first letters, so one
rare word with a likely beginning is drawn in the place of many better ones."""


def log_odds(probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Natural log-odds, finite also where a probability is 0 or 1."""
    clipped = np.clip(probabilities, 1e-6, 1 - 1e-6)
    odds: npt.NDArray[np.float64] = np.log(clipped) - np.log1p(-clipped)
    return odds


class Lexicon:
    """The words of some texts as they are written there, most frequent first, read by a teacher.

    `apart`: the texts have contractions as two words, "do n't", more often than as one.
    """

    def __init__(self, teacher: Teacher, texts: Iterable[str], classes: int) -> None:
        frequency: Counter[str] = Counter()
        forms: dict[str, Counter[str]] = {}
        contracted: Counter[bool] = Counter()
        for text in texts:
            for span in words(text):
                word = text[span.start : span.end]
                if word.lower().endswith(("n't", "n’t")):
                    contracted[" " in word] += 1
                if not _PLAIN.fullmatch(word):
                    continue
                frequency[word.lower()] += 1
                # A capital at the beginning is the place's, and shouting is the writer's.
                if span.start and (len(word) == 1 or not word.isupper()):
                    forms.setdefault(word.lower(), Counter())[word] += 1
        ordered = sorted(frequency, key=lambda word: (-frequency[word], word))[:_VOCABULARY]
        self.vocabulary = tuple(
            forms[word].most_common(1)[0][0] if word in forms else word for word in ordered
        )
        self.apart = contracted[True] > contracted[False]
        self.common = self.vocabulary[:_COMMON]
        self._rank = {word: at for at, word in enumerate(self.vocabulary)}
        self._teacher = teacher
        self._classes = classes
        self.speaking = cache(self._speaking)

    @cached_property
    def _scores(self) -> npt.NDArray[np.float64]:
        """The teacher's probabilities of the single words, shape [words, classes]."""
        if not self.vocabulary:
            return np.zeros((0, self._classes))
        return self._teacher.predict_proba(self.vocabulary)

    def probes(self, label: int, count: int = 3) -> list[str]:
        """The words that, alone, speak most strongly for a class; fewer if the texts have fewer."""
        order = np.argsort(-self._scores[:, label], kind="stable")[:count]
        return [self.vocabulary[at] for at in order]

    def _speaking(self, target: int, source: int) -> tuple[str, ...]:
        """Words that speak for one class against another, most frequent first.

        A teacher is as sure of many single words as it can be, and of words without an opinion
        too. So the words are ranked by what is left of their class next to the other class's
        strongest word.
        """
        asked = self.probes(target, _ASKED_AGAIN)
        against = self.probes(source, 1)
        if not asked:
            return ()
        scores = self._teacher.predict_proba([" ".join([*against, word]) for word in asked])
        order = np.argsort(-scores[:, target], kind="stable")[:_STRONGEST]
        strongest = sorted((asked[at] for at in order), key=self._rank.__getitem__)
        return tuple(strongest[:_SPEAKING])
