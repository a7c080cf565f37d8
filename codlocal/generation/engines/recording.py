"""Every request with its replies, on disk: what was answered once is never asked again.

A row is found by a content hash of all that decides the answer, so the store of one run serves
any other that asks the same.
"""

from pathlib import Path
from typing import Any, Literal

from codlocal.core import hashing
from codlocal.core.keyed_rows import KeyedRows
from codlocal.core.records import Fluency, Row
from codlocal.generation.engines.engine import Engine, Reply, Request, Sampling

STORE = "replies.jsonl"


class Generator(Row):
    """Who answers. `weights` is the model's content hash, or the name that a server gives it."""

    name: str
    engine: Literal["vllm", "transformers"]
    prompting: Literal["chat", "completion"]
    weights: str

    def is_like(self, other: "Generator") -> bool:
        """Whether both are the same but for the weights."""
        return self.model_copy(update={"weights": other.weights}) == other


class Question(Row):
    """A request in full, or a text to be scored, which has neither sampling nor constraint.

    `constraint` is a regular expression or a JSON schema.
    """

    prompt: str
    constraint: str | dict[str, Any] | None = None
    count: int = 0
    seed: int = 0
    sampling: Sampling | None = None

    @classmethod
    def of(cls, request: Request) -> "Question":
        """What a request asks; its id is no part of it."""
        constraint = request.constraint
        return cls(
            prompt=request.prompt,
            constraint=constraint
            if isinstance(constraint, str)
            else constraint.model_json_schema(),
            count=request.count,
            seed=request.seed,
            sampling=request.sampling,
        )


class Exchange(Row):
    """A question and its answer: the replies, or the fluency of a text to be scored."""

    generator: Generator
    question: Question
    replies: tuple[Reply, ...] = ()
    fluency: Fluency | None = None

    @property
    def key(self) -> str:
        """What the exchange is found by."""
        return key_of(self.generator, self.question)


def key_of(generator: Generator, question: Question) -> str:
    """The content hash of a question to a generator."""
    return hashing.of_value([generator.model_dump(mode="json"), question.model_dump(mode="json")])


def store_at(path: Path) -> KeyedRows[Exchange]:
    """Open a store; the file is made by the first exchange that is kept.

    Raises:
        RunError: the file is damaged.

    """
    return KeyedRows(path, Exchange, lambda row: row.key)


class Recorder:
    """An engine that answers from the store, asks another engine the rest, and keeps its answers.

    `asked` counts the requests that went to the other engine.
    """

    def __init__(self, inner: Engine, store: KeyedRows[Exchange], generator: Generator) -> None:
        self._inner = inner
        self._store = store
        self._generator = generator
        self.asked = 0

    async def generate(self, request: Request) -> list[Reply]:
        """Return `request.count` replies."""
        question = Question.of(request)
        known = self._known(question)
        if known is not None:
            return list(known.replies)
        self.asked += 1
        replies = await self._inner.generate(request)
        self._store.append(self._exchange(question, replies=tuple(replies)))
        return replies

    async def score(self, text: str) -> Fluency:
        """Return the log-probability per token of a text."""
        question = Question(prompt=text)
        known = self._known(question)
        if known is not None and known.fluency is not None:
            return known.fluency
        self.asked += 1
        fluency = await self._inner.score(text)
        self._store.append(self._exchange(question, fluency=fluency))
        return fluency

    async def aclose(self) -> None:
        """Close the other engine."""
        await self._inner.aclose()

    def _known(self, question: Question) -> Exchange | None:
        return self._store.get(key_of(self._generator, question))

    def _exchange(
        self, question: Question, replies: tuple[Reply, ...] = (), fluency: Fluency | None = None
    ) -> Exchange:
        return Exchange(
            generator=self._generator, question=question, replies=replies, fluency=fluency
        )
