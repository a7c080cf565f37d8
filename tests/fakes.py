"""Stand-ins for the slow parts: a teacher made of word weights, an engine that obeys any pattern.

The server that goes with them is in `fake_server`.
"""

import asyncio
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from re import _parser as regex_parser
from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt

from codlocal.core.records import Fluency
from codlocal.generation.engines.engine import Blank, Proposals, Reply, Request

WEIGHTS = {
    **dict.fromkeys(("great", "good", "delicious", "friendly", "perfect", "love", "clean"), 2.0),
    **dict.fromkeys(("awful", "bad", "bland", "rude", "terrible", "hate", "dirty"), -2.0),
}
"""A sentiment teacher in fourteen words."""
WORDS = (*WEIGHTS, "the", "and", "very", "so", "not", "it", "was")


class FakeTeacher:
    """Two classes; the log-odds of the second are the sum of the words' weights."""

    def __init__(self, weights: Mapping[str, float] = WEIGHTS, bias: float = 0.0) -> None:
        self.weights = weights
        self.bias = bias
        self.calls: list[list[str]] = []

    def predict_proba(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        self.calls.append(list(texts))
        odds = [self.log_odds(text) for text in texts]
        positive = 1 / (1 + np.exp(-np.array(odds, dtype=np.float64)))
        return np.stack([1 - positive, positive], axis=1)

    def log_odds(self, text: str) -> float:
        found = re.findall(r"\w+", text.lower())
        return self.bias + sum(self.weights.get(word, 0.0) for word in found)


def sample(pattern: str, chooser: random.Random, words: Sequence[str] = WORDS) -> str:
    """A string that matches a pattern; a run of letters becomes one of `words` where it can."""
    return _sample(regex_parser.parse(pattern), chooser, words)


def _sample(parts: Any, chooser: random.Random, words: Sequence[str]) -> str:
    text = ""
    for operation, value in parts:
        name = str(operation)
        if name == "LITERAL":
            text += chr(value)
        elif name == "IN":
            text += _character(value, chooser)
        elif name == "SUBPATTERN":
            text += _sample(value[-1], chooser, words)
        elif name == "BRANCH":
            text += _sample(chooser.choice(value[1]), chooser, words)
        elif name == "MAX_REPEAT":
            text += _repeat(value, chooser, words)
        else:
            raise NotImplementedError(name)
    return text


def _repeat(value: Any, chooser: random.Random, words: Sequence[str]) -> str:
    low, high, parts = value
    high = min(int(high), 30)
    if high >= 10 and str(parts[0][0]) == "IN":
        word = chooser.choice(words)
        if low <= len(word) <= high and all(_allowed(parts[0][1], letter) for letter in word):
            return word
    count = chooser.randint(low, min(high, low + 3))
    return "".join(_sample(parts, chooser, words) for _ in range(count))


_CATEGORIES: dict[str, Callable[[str], bool]] = {
    "CATEGORY_SPACE": str.isspace,
    "CATEGORY_NOT_SPACE": lambda letter: not letter.isspace(),
    "CATEGORY_DIGIT": str.isdigit,
}


def _allowed(members: Any, letter: str) -> bool:
    negated, found = False, False
    for operation, value in members:
        name = str(operation)
        if name == "NEGATE":
            negated = True
        elif name == "LITERAL":
            found |= ord(letter) == value
        elif name == "RANGE":
            found |= value[0] <= ord(letter) <= value[1]
        elif name == "CATEGORY":
            found |= _CATEGORIES[str(value)](letter)
    return found != negated


def _character(members: Any, chooser: random.Random) -> str:
    ranges = [value for operation, value in members if str(operation) == "RANGE"]
    if ranges and str(members[0][0]) != "NEGATE":
        low, high = chooser.choice(ranges)
        return chr(chooser.randint(low, high))
    alphabet = [chr(code) for code in range(32, 127)] + list("éñ猫の😀")
    return chooser.choice([letter for letter in alphabet if _allowed(members, letter)])


def obedient(request: Request, index: int) -> str:
    """A reply that meets the request's constraint; the same request gives the same replies."""
    chooser = random.Random(f"{request.seed}/{request.id}/{index}")
    return sample(request.constraint, chooser)


def as_reply(text: str, finish_reason: str = "stop") -> Reply:
    """A reply with plausible token counts."""
    return Reply(text, finish_reason, prompt_tokens=20, completion_tokens=len(text.split()) + 4)


@dataclass
class FakeEngine:
    """Answers at once, or after `delay(request)` seconds, with `reply(request, index)`.

    `fail_after` requests it raises `failure`. `most_in_flight` is the highest concurrency seen.
    """

    reply: Callable[[Request, int], str | Reply] = obedient
    delay: Callable[[Request], float] = lambda _request: 0.0
    fail_after: int | None = None
    failure: Exception = field(default_factory=lambda: ConnectionError("the engine is gone"))
    requests: list[Request] = field(default_factory=list)
    blanks: list[Blank] = field(default_factory=list)
    scored: list[str] = field(default_factory=list)
    closed: int = 0
    in_flight: int = 0
    most_in_flight: int = 0
    cancelled: int = 0
    failed: int = 0

    @property
    def asked(self) -> list[str]:
        """The ids of the requests, the canary's left out."""
        return [request.id for request in self.requests if not request.id.startswith("canary")]

    async def generate(self, request: Request) -> list[Reply]:
        if self.fail_after is not None and len(self.asked) >= self.fail_after:
            self.failed += 1
            if self.failed > 1:  # the first failure has to end the others
                await asyncio.sleep(60)
            raise self.failure
        self.requests.append(request)
        async with self._flight():
            await asyncio.sleep(self.delay(request))
            replies = (self.reply(request, index) for index in range(request.count))
            return [as_reply(one) if isinstance(one, str) else one for one in replies]

    async def propose(self, blank: Blank) -> Proposals:
        self.blanks.append(blank)
        async with self._flight():
            await asyncio.sleep(0)
            return Proposals(tuple((f" {word}", -at) for at, word in enumerate(WORDS)), 20)

    async def score(self, text: str) -> Fluency:
        self.scored.append(text)
        async with self._flight():
            await asyncio.sleep(0)
            return score_of(text)

    async def aclose(self) -> None:
        self.closed += 1

    def _flight(self) -> "_Flight":
        return _Flight(self)


@dataclass
class _Flight:
    engine: FakeEngine

    async def __aenter__(self) -> None:
        self.engine.in_flight += 1
        self.engine.most_in_flight = max(self.engine.most_in_flight, self.engine.in_flight)

    async def __aexit__(self, kind: type[BaseException] | None, *_rest: object) -> None:
        self.engine.in_flight -= 1
        self.engine.cancelled += kind is asyncio.CancelledError


def score_of(text: str) -> Fluency:
    """A fluency that depends on the text alone: known words are likely, others are not."""
    words = re.findall(r"\w+", text.lower()) or ["good"]
    logs = [-1.0 if word in WORDS else -3.0 for word in words]
    return Fluency(
        mean=sum(logs) / len(logs),
        worst=min(logs),
        tokens=len(logs),
        token_ids=tuple(crc32(word.encode()) for word in words),
        log_probabilities=tuple(logs),
    )
