"""One piece of work of a `VllmEngine` at a server."""

import asyncio

from codlocal.generation.engines.engine import Blank, Request, Sampling
from codlocal.generation.engines.vllm_engine import VllmEngine

PATTERN = r'\{"text": "so (good|bad)"\}'


def request(constraint=PATTERN, count=3):
    return Request("1", "Say so.", constraint, count, 77, Sampling(0.4, 0.8, 50))


def ask(server, work, *, key=None, **options):
    async def whole():
        engine = VllmEngine(server.url, key or server.key, server.model, **options)
        try:
            return await work(engine)
        finally:
            await engine.aclose()

    return asyncio.run(whole())


def doing(work):
    arguments = {"generate": request(), "propose": Blank("Say so.", "{"), "score": "a text"}
    return lambda engine: getattr(engine, work)(arguments[work])
