"""An engine that is opened by its first request, and once more if seeds have killed it."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import TypeVar

from codlocal.core.errors import EngineError, SeedError
from codlocal.core.records import Fluency
from codlocal.generation.engines.engine import Blank, Engine, Proposals, Reply, Request

AnswerT = TypeVar("AnswerT")
OpenEngine = Callable[[bool], AbstractAsyncContextManager[Engine]]
"""Opens an engine that is to send seeds, or not."""


class LazyEngine:
    """Opens an engine when it is first needed, so that a run that knows all answers needs none.

    Some builds of vLLM die of a seed per request. Then the engine is opened once more, without
    them: its replies are as good, but another run's will differ. `seeds` says how it ended.
    """

    def __init__(self, open_engine: OpenEngine, *, seeds: bool) -> None:
        self.seeds = seeds
        self._open = open_engine
        self._engine: Engine | None = None
        self._dead: Engine | None = None
        self._failure: EngineError | None = None
        self._stack = AsyncExitStack()
        self._lock = asyncio.Lock()

    async def generate(self, request: Request) -> list[Reply]:
        """Return `request.count` replies."""
        return await self._ask(lambda engine: engine.generate(request))

    async def propose(self, blank: Blank) -> Proposals:
        """Return the likeliest next tokens of a reply."""
        return await self._ask(lambda engine: engine.propose(blank))

    async def score(self, text: str) -> Fluency:
        """Return the log-probability per token of a text."""
        return await self._ask(lambda engine: engine.score(text))

    async def aclose(self) -> None:
        """Close the engine, if it was opened."""
        self._engine = None
        await self._stack.aclose()

    async def _ask(self, work: Callable[[Engine], Awaitable[AnswerT]]) -> AnswerT:
        engine = await self._opened()
        try:
            return await work(engine)
        except (EngineError, RuntimeError) as error:
            # Of the requests that died with an engine, those that come late find its client closed.
            if engine is not self._dead and not isinstance(error, SeedError):
                raise
            return await work(await self._without_seeds(engine))

    async def _opened(self) -> Engine:
        async with self._lock:
            if self._failure is not None:
                raise self._failure
            return self._engine or await self._start()

    async def _without_seeds(self, dead: Engine) -> Engine:
        """Open the engine anew; of all the requests that died with it, the first one does so."""
        async with self._lock:
            if self._engine is not dead or not self.seeds:
                return self._engine or dead
            self._dead, self.seeds = dead, False
            await self.aclose()
            return await self._start()

    async def _start(self) -> Engine:
        """Open the engine; what keeps it from opening is told to all who wait for it."""
        try:
            self._engine = await self._stack.enter_async_context(self._open(self.seeds))
        except EngineError as error:
            if isinstance(error, SeedError) and self.seeds:
                self.seeds = False
                return await self._start()
            self._failure = error
            raise
        return self._engine
