"""Infilling: the generator's likeliest words for a place, of which those that flip are taken.

A sampled word is a likely one, and likely words seldom turn a text around; a teacher's own words
do, but seldom fit. One look at the generator's distribution over the next token has both: it
ranks hundreds of words for the place, and the teacher says which of them flip the label (as word
substitution attacks choose among a masked model's candidates, Li et al. 2020, BERT-Attack). Where
no single word does, words of several places are combined.

The next token follows from what stands before it alone. Whether a word fits what comes after it,
too, is seen by the likelihood of the whole text, by which the best of a pool of texts are taken.
"""

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest

import regex

from codlocal.core.records import Candidate, Teacher
from codlocal.core.scripts import has_other_letters, same_letters
from codlocal.generation.constraint import Span
from codlocal.generation.edits import replaced
from codlocal.generation.engines.engine import Proposals
from codlocal.generation.letter_case import in_case
from codlocal.generation.lexicon import log_odds
from codlocal.generation.negation import contraction
from codlocal.generation.planned import Place, PlannedInfill

_WORD = regex.compile(r"( ?)(\p{L}[\p{L}\p{M}]*(?:['’]\p{L}+)?)")
_LETTERS_THAT_ARE_WORDS = frozenset("aiouAIOU")
_ASKED_AT_ONCE = 64
"""Texts that the teacher reads before it is known whether more are needed."""
_MOST_SINGLE, _MOST_COMBINED = 384, 256
"""Texts with one new word, and with several, that the teacher reads at most."""
_STRONG = 16
"""Words of one place that are combined with others."""
_SHARE_CHANGED = 4
"""One word in so many may change where words are combined, and always two."""


@dataclass(frozen=True)
class _Fill:
    """Words by the place that they take, and how likely they are there in all."""

    words: Mapping[Span, str]
    log_probability: float


@dataclass(frozen=True)
class _Answer:
    """What the teacher says of a text: its log-odds of the target, and whether it flips."""

    odds: float
    flips: bool


def flipping_texts(
    teacher: Teacher, plan: PlannedInfill, proposals: Sequence[Proposals]
) -> dict[str, int]:
    """Up to `plan.pool` texts that the teacher gives the target label.

    `proposals` has one entry per place. Each text comes with how many of its words are new.
    """
    return _Filler(teacher, plan).find(_ranked(plan, proposals))


def best_first(
    plan: PlannedInfill, changed: Mapping[str, int], likelihood: Callable[[str], float]
) -> list[str]:
    """The likeliest texts first; if combining, those with one and with several new words in turn.

    Each new word makes a text less likely, and more of them may: they are no match for one.
    """
    ranked = sorted(changed, key=likelihood, reverse=True)
    if not plan.combining:
        return ranked
    kinds = [[t for t in ranked if changed[t] == 1], [t for t in ranked if changed[t] > 1]]
    return [text for turn in zip_longest(*kinds) for text in turn if text is not None]


def filled(
    plan: PlannedInfill,
    texts: Sequence[str],
    proposals: Sequence[Proposals],
    comparing: int = 0,
) -> list[Candidate]:
    """One row for each of the first `plan.count` texts; rows that are left say why they have none.

    Every place that was not refused has cost a token, and the reading of its prompt. The rows
    share that in turn, so that all of it is counted where there are fewer rows than places. The
    first one has the tokens of `comparing`, too: of the scores of texts that were not taken.
    """
    refused = next((one.finish_reason for one in proposals if one.finish_reason != "stop"), None)
    few = "no other of" if texts else "none of"
    failure = refused or f"{few} the generator's words flips the teacher"
    rows = [plan.candidate(at, text, None) for at, text in enumerate(texts[: plan.count])]
    rows += [plan.candidate(at, None, failure) for at in range(len(rows), plan.count)]
    for at, one in enumerate(proposals):
        row = rows[at % len(rows)]
        cost = {
            "prompt_tokens": row.prompt_tokens + one.prompt_tokens,
            "completion_tokens": row.completion_tokens + (one.finish_reason == "stop"),
        }
        rows[at % len(rows)] = row.model_copy(update=cost)
    spent = rows[0].completion_tokens + comparing
    return [rows[0].model_copy(update={"completion_tokens": spent}), *rows[1:]]


class _Filler:
    def __init__(self, teacher: Teacher, plan: PlannedInfill) -> None:
        self._teacher = teacher
        self._text = plan.task.example.text
        self._target = plan.task.target_label
        self._places = [place.span for place in plan.places]
        self._pool = plan.pool
        self._combining = plan.combining
        self._tried = plan.tried
        self._most = max(2, len(plan.task.importance) // _SHARE_CHANGED)
        self._read: dict[str, _Answer] = {}

    def find(self, fills: Sequence[_Fill]) -> dict[str, int]:
        """Texts that flip: by one word, the likeliest first, and by several."""
        alone = self._flips(fills[:_MOST_SINGLE], self._pool)
        wanted = max(self._pool - len(alone), self._pool // 2 if self._combining else 0)
        several = self._flips(self._combinations(fills), wanted) if wanted else {}
        return {**dict(islice(alone.items(), self._pool - len(several))), **several}

    def _flips(self, fills: Sequence[_Fill], enough: int) -> dict[str, int]:
        """New texts that flip, up to so many, and how many of their words are new."""
        found: dict[str, int] = {}
        for first in range(0, len(fills), _ASKED_AT_ONCE):
            some = [fill.words for fill in fills[first : first + _ASKED_AT_ONCE]]
            for words, answer in zip(some, self._ask(some), strict=True):
                text = replaced(self._text, words)
                if answer.flips and text not in self._tried:
                    found[text] = len(words)
            if len(found) >= enough:
                break
        return dict(islice(found.items(), enough))

    def _ask(self, wanted: Sequence[Mapping[Span, str]]) -> list[_Answer]:
        """What the teacher says of the text with these words each; it reads none twice."""
        texts = [replaced(self._text, words) for words in wanted]
        new = [text for text in dict.fromkeys(texts) if text not in self._read]
        if new:
            scores = self._teacher.predict_proba(new)
            flips = scores.argmax(axis=1) == self._target
            odds = log_odds(scores[:, self._target])
            answers = map(_Answer, odds.tolist(), flips.tolist())
            self._read.update(zip(new, answers, strict=True))
        return [self._read[text] for text in texts]

    def _combinations(self, fills: Sequence[_Fill]) -> list[_Fill]:
        """Fills of several places that flip together, the likeliest first."""
        search = self._place_by_place if self._combining else self._strongest_first
        ranked = [
            sorted(strong, key=lambda fill: -fill.log_probability) for strong in search(fills)
        ]
        return list(islice(_likeliest(ranked), _MOST_COMBINED)) if ranked else []

    def _strongest_first(self, fills: Sequence[_Fill]) -> list[list[_Fill]]:
        """The strongest words of each of the places that flip together; none if none do.

        Few questions, for likely words alone: of each place its strongest word, and that place
        next where it helps most.
        """
        likely = fills[:_MOST_SINGLE]
        self._ask([fill.words for fill in likely])  # at once, what is asked below place by place
        strong = {span: self._strongest(here, {})[0] for span, here in _by_place(likely).items()}
        left = {span: found[0] for span, found in strong.items()} if len(strong) > 1 else {}
        chosen: dict[Span, str] = {}
        while left and len(chosen) < self._most:
            tried = self._ask([{**chosen, **fill.words} for fill in left.values()])
            span, best = max(zip(left, tried, strict=True), key=lambda one: one[1].odds)
            chosen |= left.pop(span).words
            if best.flips and len(chosen) > 1:
                return [strong[span] for span in chosen]
        return []

    def _place_by_place(self, fills: Sequence[_Fill]) -> list[list[_Fill]]:
        """The same by many questions, for all words.

        Place by place, the most important first, the strongest word is kept if it brings the
        text nearer to the target: where a decision rests on many words, one changes nothing yet.
        """
        if len(self._places) < 2:
            return []
        by_place = _by_place(fills)
        strong: dict[Span, list[_Fill]] = {}
        chosen: dict[Span, str] = {}
        best = self._ask([chosen])[0]
        for span in self._places:
            if len(strong) == self._most or (best.flips and len(strong) > 1):
                break
            if span not in by_place:
                continue
            ranked, answer = self._strongest(by_place[span], chosen)
            if best.flips or answer.odds > best.odds:
                strong[span], best = ranked, answer
                chosen |= ranked[0].words
        if not best.flips or len(strong) < 2:
            return []
        return [strong[span] for span in self._needed(chosen)]

    def _strongest(
        self, here: Sequence[_Fill], chosen: Mapping[Span, str]
    ) -> tuple[list[_Fill], _Answer]:
        """The words of a place that speak most for the target, and the first one's answer.

        They are asked for beside the words `chosen` for other places.
        """
        answers = self._ask([{**chosen, **fill.words} for fill in here])
        order = sorted(range(len(here)), key=lambda at: -answers[at].odds)
        return [here[at] for at in order[:_STRONG]], answers[order[0]]

    def _needed(self, words: Mapping[Span, str]) -> list[Span]:
        """The places without which a text would no longer flip; two at the least."""
        for span in list(words):
            fewer = {one: word for one, word in words.items() if one != span}
            if len(fewer) > 1 and self._ask([fewer])[0].flips:
                words = fewer
        return list(words)


def _by_place(fills: Sequence[_Fill]) -> dict[Span, list[_Fill]]:
    found: dict[Span, list[_Fill]] = {}
    for fill in fills:
        found.setdefault(next(iter(fill.words)), []).append(fill)
    return found


def _likeliest(ranked: Sequence[Sequence[_Fill]]) -> Iterator[_Fill]:
    """Combinations of one fill from each list, which are sorted, by what they are likely in all."""

    def combined(at: Sequence[int]) -> _Fill:
        parts = [fills[index] for fills, index in zip(ranked, at, strict=True)]
        words = {span: word for part in parts for span, word in part.words.items()}
        return _Fill(words, sum(part.log_probability for part in parts))

    first = tuple(0 for _ in ranked)
    queue, seen = [(-combined(first).log_probability, first)], {first}
    while queue:
        _, at = heapq.heappop(queue)
        yield combined(at)
        for place, fills in enumerate(ranked):
            further = (*at[:place], at[place] + 1, *at[place + 1 :])
            if further[place] < len(fills) and further not in seen:
                seen.add(further)
                heapq.heappush(queue, (-combined(further).log_probability, further))


def _ranked(plan: PlannedInfill, proposals: Sequence[Proposals]) -> list[_Fill]:
    """The words of all places, the likeliest first, each once."""
    best: dict[tuple[Span, str], float] = {}
    for place, found in zip(plan.places, proposals, strict=True):
        for word, log_probability in _words(plan, place, found):
            best.setdefault((place.span, word), log_probability)
    fills = [_Fill({span: word}, value) for (span, word), value in best.items()]
    return sorted(fills, key=lambda fill: -fill.log_probability)


def _words(plan: PlannedInfill, place: Place, found: Proposals) -> Iterator[tuple[str, float]]:
    """The words among the tokens, in the case of the word whose place they take."""
    text, span = plan.task.example.text, place.span
    old, any_script = text[span.start : span.end], has_other_letters(text)
    for token, log_probability in found.tokens:
        match = _WORD.fullmatch(token)
        if match is None or bool(match[1]) != place.spaced:
            continue
        word = match[2]
        if len(word) == 1 and word.isascii() and word not in _LETTERS_THAT_ARE_WORDS:
            continue
        if (has_other_letters(word) and not any_script) or not same_letters(word, old, text):
            continue
        word = contraction(word, apart=plan.apart)
        if word.lower() != old.lower():
            yield in_case(word, text, span.start, span.end), log_probability
