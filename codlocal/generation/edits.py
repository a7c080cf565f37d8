"""Edits that are known to flip the teacher before the generator is asked: which words, into what.

The teacher costs next to nothing beside a language model, so it searches: for each word that
matters, the words of the lexicon with which the label flips; where no single word does it, a
greedy set of words. The generator then chooses among them what reads best.
"""

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np

from codlocal.core.records import Teacher
from codlocal.core.scripts import characters_like, has_other_letters, same_letters
from codlocal.generation.constraint import Span, within_reach, words
from codlocal.generation.letter_case import in_case
from codlocal.generation.lexicon import Lexicon
from codlocal.generation.negation import affirmed, is_auxiliary, negated
from codlocal.generation.task import Task

Slot = tuple[Span, tuple[str, ...]]
"""A word of the text, and what may stand in its place; "" leaves it out."""

_POSITIONS = 4
"""Words whose every replacement is tried."""
_JOINT_POSITIONS = 8
"""Words among which a joint edit is sought."""
_JOINT_WORDS = 4
_JOINT_PROBES = 3
_ENOUGH = 24
"""With so many single-word flips a joint edit is not the first thing to try."""
_COMMON = 30


@dataclass(frozen=True)
class Edit:
    """Words of a text, by position, that flip the teacher together when they are replaced."""

    slots: tuple[Slot, ...]

    def without(self, used: Set[str]) -> "Edit":
        """The same edit without words that were tried; a slot keeps its words if all were."""
        fresh = (
            (span, tuple(one for one in phrases if not used & _words_of(one)) or phrases)
            for span, phrases in self.slots
        )
        return Edit(tuple(fresh))

    def deal(self, count: int) -> list["Edit"]:
        """Share the choices among up to `count` edits, no two of which can give the same text.

        Of all slots, the one with the most choices is dealt out; the others are where they have
        enough.
        """
        count = min(count, max((len(phrases) for _, phrases in self.slots), default=0))
        return [
            Edit(tuple((span, phrases[part::count] or phrases) for span, phrases in self.slots))
            for part in range(count)
        ]


def _words_of(phrase: str) -> set[str]:
    return set(phrase.lower().split())


def find_edits(teacher: Teacher, lexicon: Lexicon, task: Task) -> list[Edit]:
    """Edits after which the teacher gives the target label, fewest words and most choices first.

    Every choice of a single word flips, and most combinations of a joint edit's choices do.
    """
    return _Finder(teacher, lexicon, task).find()


class _Finder:
    def __init__(self, teacher: Teacher, lexicon: Lexicon, task: Task) -> None:
        self._teacher = teacher
        self._lexicon = lexicon
        self._task = task
        self._common = {word.lower() for word in lexicon.common}
        spans = words(task.example.text)
        ranked = [spans[at] for at in np.argsort(-task.importance, kind="stable")]
        self._reach = within_reach(task.example.text, ranked)[:_JOINT_POSITIONS]

    def find(self) -> list[Edit]:
        if not self._reach:
            return []
        tried = [
            (span, phrase) for span in self._reach[:_POSITIONS] for phrase in self._options(span)
        ]
        scores, flipped = self._ask([{span: phrase} for span, phrase in tried])
        found: dict[Span, list[str]] = {}
        for (span, phrase), flips in zip(tried, flipped, strict=True):
            if flips:
                found.setdefault(span, []).append(phrase)
        singles = [Edit(((span, tuple(phrases)),)) for span, phrases in found.items()]
        asked = Counter(span for span, _ in tried)
        singles.sort(key=lambda edit: -len(edit.slots[0][1]) / asked[edit.slots[0][0]])
        if not tried:
            return singles
        span, phrase = tried[int(np.argmax(scores))]
        joint = self._joint({span: phrase})
        first = 2 if sum(map(len, found.values())) >= _ENOUGH else 1
        return [*singles[:first], *joint, *singles[first:]]

    def _joint(self, chosen: dict[Span, str]) -> list[Edit]:
        """Add the word that helps most until the label flips, then widen each word's choice."""
        target = self._task.target_label
        frequent = self._lexicon.speaking(target, self._task.source_label)[:_JOINT_PROBES]
        probes = [*frequent, *self._lexicon.probes(target)]
        while len(chosen) < min(_JOINT_WORDS, len(self._reach)):
            tried = [
                {**chosen, span: self._in_place(span, word)}
                for span in self._reach
                if span not in chosen
                for word in probes
                if self._suits(span, word)
            ]
            if not tried:
                return []
            scores, flipped = self._ask(tried)
            best = int(np.argmax(scores))
            chosen = tried[best]
            if flipped[best]:
                return [self._widened(chosen)]
        return []

    def _widened(self, chosen: dict[Span, str]) -> Edit:
        """Give each word of a joint flip its choice: what flips while the others hold theirs.

        A word found so far was the strongest one; the next choice is made beside a middling one,
        so that most combinations flip too.
        """
        slots: list[Slot] = []
        for span in sorted_spans(chosen):
            options = self._options(span)
            scores, flipped = self._ask([{**chosen, span: phrase} for phrase in options])
            kept = [at for at, flips in enumerate(flipped) if flips]
            if kept:
                ranked = sorted(kept, key=scores.__getitem__)
                chosen = {**chosen, span: options[ranked[len(ranked) // 2]]}
            slots.append((span, tuple(options[at] for at in kept) or (chosen[span],)))
        return Edit(tuple(slots))

    def _options(self, span: Span) -> list[str]:
        """Words of a word's own kind: function words for one of them, else words that speak."""
        text = self._task.example.text
        old = text[span.start : span.end]
        taken_back = affirmed(old)
        options = [*taken_back]
        if not taken_back and old.lower() in self._common:
            options += self._lexicon.common[:_COMMON]
        contracts = taken_back or is_auxiliary(old)
        speaking = self._lexicon.speaking(self._task.target_label, self._task.source_label)
        options += [word for word in speaking if contracts or "n't" not in word]
        options = [word for word in options if self._suits(span, word)]
        # A word that begins the text leaves its capital to the "not" before it.
        if not taken_back and not has_other_letters(old):
            options += negated(old if span.start else old.lower())
        if text[: span.start].endswith(" "):
            fitting = [self._in_place(span, phrase) for phrase in options]
        else:
            fitting = [self._in_place(span, phrase) for phrase in options if phrase]
        return [phrase for phrase in dict.fromkeys(fitting) if phrase.lower() != old.lower()]

    def _suits(self, span: Span, word: str) -> bool:
        """Whether a word of the training texts can be one of this text, as its letters go.

        The training texts may be of several languages, and each of them in its own script.
        """
        text = self._task.example.text
        if has_other_letters(word) and not has_other_letters(text):
            return False
        old = text[span.start : span.end]
        return not word or (
            characters_like(word) == characters_like(old) and same_letters(word, old, text)
        )

    def _in_place(self, span: Span, phrase: str) -> str:
        return in_case(phrase, self._task.example.text, span.start, span.end)

    def _ask(self, edits: Sequence[Mapping[Span, str]]) -> tuple[list[float], list[bool]]:
        """The target's probability after each edit, and whether it is then the label."""
        texts = [replaced(self._task.example.text, edit) for edit in edits]
        scores = self._teacher.predict_proba(texts)
        target = self._task.target_label
        return list(scores[:, target]), list(scores.argmax(axis=1) == target)


def sorted_spans(spans: Mapping[Span, str]) -> list[Span]:
    """Spans in the order of the text."""
    return sorted(spans, key=lambda span: span.start)


def replaced(text: str, edit: Mapping[Span, str]) -> str:
    """The text with words replaced; one replaced by "" takes the space before it along."""
    for span in reversed(sorted_spans(edit)):
        start = span.start - 1 if not edit[span] and span.start else span.start
        text = text[:start] + edit[span] + text[span.end :]
    return text
