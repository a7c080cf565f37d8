"""Coroutines side by side: so many at a time, and none left over when one fails."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import TypeVar

_Given = TypeVar("_Given")
_Result = TypeVar("_Result")


async def each(
    work: Callable[[_Given], Awaitable[_Result]], given: Sequence[_Given], concurrency: int
) -> list[_Result]:
    """What comes of each one, in order, with up to `concurrency` of them worked on at a time."""
    results: dict[int, _Result] = {}
    waiting = iter(enumerate(given))

    async def take() -> None:
        for index, one in waiting:
            results[index] = await work(one)

    await all_or_none(*(take() for _ in range(min(concurrency, len(given)))))
    return [results[index] for index in range(len(given))]


async def all_or_none(*work: Coroutine[None, None, None]) -> None:
    """Run coroutines together; the first error cancels the rest and is raised as it is."""
    running = [asyncio.create_task(one) for one in work]
    try:
        await asyncio.gather(*running)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
