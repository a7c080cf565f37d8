"""Every request with its replies, on disk: what was answered once is never asked again.

A row is found by a content hash of all that decides the answer, so the store of one run serves
any other that asks the same. A failure is no answer: it is kept for replays, and asked again by
a run that has an engine, which may have been given a longer context since.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

from codlocal.core import hashing
from codlocal.core.keyed_rows import KeyedRows
from codlocal.core.records import Fluency, Row
from codlocal.core.sections import EngineName, Prompting
from codlocal.generation.engines.engine import (
    DIGITS,
    Blank,
    Engine,
    Proposals,
    Reply,
    Request,
    Sampling,
    fluency,
    is_failure,
)
from codlocal.generation.engines.sharing import Shared

STORE = "replies.jsonl"


class Generator(Row):
    """Who answers. `weights` is the model's content hash, or the name that a server gives it."""

    name: str
    engine: EngineName
    prompting: Prompting
    weights: str

    def is_like(self, other: "Generator") -> bool:
        """Whether both are the same but for the weights."""
        return self.model_copy(update={"weights": other.weights}) == other


class Question(Row):
    """A request in full, a blank, or a text to be scored.

    Neither of these two has sampling or a constraint; `begun` is how the reply with the blank
    begins.
    """

    prompt: str
    constraint: str | None = None
    count: int = 0
    seed: int = 0
    sampling: Sampling | None = None
    begun: str | None = None

    @classmethod
    def of(cls, request: Request) -> "Question":
        """What a request asks; its id is no part of it."""
        return cls(
            prompt=request.prompt,
            constraint=request.constraint,
            count=request.count,
            seed=request.seed,
            sampling=request.sampling,
        )

    @classmethod
    def of_blank(cls, blank: Blank) -> "Question":
        """What a blank asks."""
        return cls(prompt=blank.prompt, begun=blank.begun, count=blank.count)


class Exchange(Row):
    """A question and its answer: replies, proposals for a blank, or the fluency of a text."""

    generator: Generator
    question: Question
    replies: tuple[Reply, ...] = ()
    fluency: Fluency | None = None
    proposals: Proposals | None = None

    @property
    def failed(self) -> bool:
        """Whether a part of it was refused, or is missing."""
        reasons = [reply.finish_reason for reply in self.replies]
        reasons += [self.proposals.finish_reason] if self.proposals else []
        return any(map(is_failure, reasons))

    @property
    def key(self) -> str:
        """What the exchange is found by; a failure is not found in the place of an answer."""
        key = key_of(self.generator, self.question)
        return failure_of(key) if self.failed else key


def key_of(generator: Generator, question: Question) -> str:
    """The content hash of a question to a generator."""
    asked = question.model_dump(mode="json", exclude=None if question.begun else {"begun"})
    return hashing.of_value([generator.model_dump(mode="json"), asked])


def failure_of(key: str) -> str:
    """What the failure is found by in the place of which an answer would have a key."""
    return f"{key}/failed"


def store_at(path: Path) -> KeyedRows[Exchange]:
    """Open a store; the file is made by the first exchange that is kept.

    Raises:
        RunError: the file is damaged.

    """
    return KeyedRows(path, Exchange, lambda row: row.key)


class Recorder:
    """An engine that answers from the store, asks another engine the rest, and keeps its answers.

    What is asked while the same question is in flight waits for that answer. The other engine gets
    `at_once` requests at a time, and `asked` counts all that went to it.
    """

    def __init__(
        self, inner: Engine, store: KeyedRows[Exchange], generator: Generator, at_once: int
    ) -> None:
        self._inner = inner
        self._store = store
        self._generator = generator
        self._in_flight: Shared[Exchange] = Shared()
        self._room = asyncio.Semaphore(at_once)
        self.asked = 0

    async def generate(self, request: Request) -> list[Reply]:
        """Return `request.count` replies."""
        question = Question.of(request)

        async def ask() -> Exchange:
            return self._keep(question, replies=tuple(await self._inner.generate(request)))

        return list((await self._answer(question, ask)).replies)

    async def propose(self, blank: Blank) -> Proposals:
        """Return the likeliest next tokens of a reply."""
        question = Question.of_blank(blank)

        async def ask() -> Exchange:
            found = await self._inner.propose(blank)
            tokens = tuple((token, round(value, DIGITS)) for token, value in found.tokens)
            return self._keep(question, proposals=replace(found, tokens=tokens))

        return (await self._answer(question, ask)).proposals or Proposals((), 0)

    async def score(self, text: str) -> Fluency:
        """Return the log-probability per token of a text."""
        question = Question(prompt=text)

        async def ask() -> Exchange:
            return self._keep(question, fluency=await self._inner.score(text))

        return (await self._answer(question, ask)).fluency or fluency([])

    async def aclose(self) -> None:
        """Close the other engine."""
        await self._inner.aclose()

    async def _answer(
        self, question: Question, ask: Callable[[], Coroutine[Any, Any, Exchange]]
    ) -> Exchange:
        """The answer that is known, that is on its way, or that is asked for now."""
        key = key_of(self._generator, question)
        known = self._store.get(key)
        return known or await self._in_flight.once(key, lambda: self._counted(ask))

    async def _counted(self, ask: Callable[[], Coroutine[Any, Any, Exchange]]) -> Exchange:
        async with self._room:
            self.asked += 1
            return await ask()

    def _keep(
        self,
        question: Question,
        replies: tuple[Reply, ...] = (),
        *,
        fluency: Fluency | None = None,
        proposals: Proposals | None = None,
    ) -> Exchange:
        """Keep an answer. Of failures the first one is kept, and holds for those that follow."""
        exchange = Exchange(
            generator=self._generator,
            question=question,
            replies=replies,
            fluency=fluency,
            proposals=proposals,
        )
        earlier = self._store.get(exchange.key) if exchange.failed else None
        if earlier is None:
            self._store.append(exchange)
        return earlier or exchange
