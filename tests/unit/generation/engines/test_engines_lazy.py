import asyncio
import dataclasses
from contextlib import asynccontextmanager

import pytest
from fakes import FakeEngine

from codlocal.core.errors import EngineError, SeedError
from codlocal.generation.engines.engine import Request, Sampling
from codlocal.generation.engines.lazy import LazyEngine

REQUEST = Request("1/0", "Fill in: ___", "(good|bad)", 1, 7, Sampling())


class Opener:
    """Opens fake engines; those with seeds die of `death` when they are asked."""

    def __init__(self, *, death=None, failure=None):
        self.death = death
        self.failure = failure
        self.opened = []
        self.closed = 0

    @asynccontextmanager
    async def __call__(self, seeds):
        self.opened.append(seeds)
        await asyncio.sleep(0.01)
        if self.failure and (seeds or not isinstance(self.failure, SeedError)):
            raise self.failure
        try:
            yield Dying(self.death) if seeds and self.death else FakeEngine()
        finally:
            self.closed += 1


class Dying:
    """Tells of its death to all who ask."""

    def __init__(self, death):
        self.death = death

    async def generate(self, _request):
        await asyncio.sleep(0.01)
        raise self.death


def ask(engine, count):
    async def work():
        try:
            asking = (engine.generate(REQUEST) for _ in range(count))
            return await asyncio.gather(*asking, return_exceptions=True)
        finally:
            await engine.aclose()

    return asyncio.run(work())


@pytest.mark.parametrize("seeds", [True, False])
def test_it_is_opened_by_the_first_request_and_once_for_all(seeds):
    opener = Opener()
    assert ask(LazyEngine(opener, seeds=seeds), 0) == []
    assert opener.opened == []
    assert all(len(replies) == 1 for replies in ask(LazyEngine(opener, seeds=seeds), 5))
    assert (opener.opened, opener.closed) == ([seeds], 1)


def test_scoring_opens_it_too():
    opener = Opener()
    engine = LazyEngine(opener, seeds=True)

    async def work():
        score = await engine.score("good")
        await engine.aclose()
        return score

    assert asyncio.run(work()).tokens == 1
    assert (opener.opened, opener.closed) == ([True], 1)


def test_an_engine_that_dies_of_seeds_is_opened_once_more_without_them():
    opener = Opener(death=SeedError("dead"))
    engine = LazyEngine(opener, seeds=True)
    assert all(len(replies) == 1 for replies in ask(engine, 5))
    assert (opener.opened, opener.closed, engine.seeds) == ([True, False], 2, False)


@pytest.mark.parametrize("late", [RuntimeError("client closed"), EngineError("it died")])
def test_what_died_late_with_an_engine_is_asked_of_the_next_one(late):
    class DyingTwice(Dying):
        async def generate(self, request):
            if request is not REQUEST:
                await asyncio.sleep(0.1)
                raise late
            await super().generate(request)

    class TwoDeaths(Opener):
        @asynccontextmanager
        async def __call__(self, seeds):
            self.opened.append(seeds)
            yield DyingTwice(SeedError("dead")) if seeds else FakeEngine()

    opener = TwoDeaths()
    engine = LazyEngine(opener, seeds=True)
    slow = dataclasses.replace(REQUEST, id="2/0")

    async def work():
        return await asyncio.gather(engine.generate(REQUEST), engine.generate(slow))

    assert all(len(replies) == 1 for replies in asyncio.run(work()))
    assert opener.opened == [True, False]


def test_an_engine_that_dies_of_seeds_while_it_opens_is_opened_without_them():
    opener = Opener(failure=SeedError("dead"))
    engine = LazyEngine(opener, seeds=True)
    assert all(len(replies) == 1 for replies in ask(engine, 3))
    assert (opener.opened, opener.closed, engine.seeds) == ([True, False], 1, False)


def test_what_keeps_it_from_opening_is_told_to_all_who_wait():
    opener = Opener(failure=EngineError("no vLLM"))
    assert ask(LazyEngine(opener, seeds=True), 5) == [opener.failure] * 5
    assert opener.opened == [True]


def test_other_deaths_are_told():
    opener = Opener(death=EngineError("the disk is full"))
    assert ask(LazyEngine(opener, seeds=True), 3) == [opener.death] * 3
    assert opener.opened == [True]
