"""Work that several wait for, and that is done once: a question in flight is not asked twice."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

ResultT = TypeVar("ResultT")


@dataclass
class _Flight(Generic[ResultT]):
    task: "asyncio.Task[ResultT]"
    waiting: int = 0


class Shared(Generic[ResultT]):
    """Has one task for each key that somebody waits for.

    Whoever is cancelled leaves the others waiting. The last one to go ends the task, too, so that
    nothing runs on that nobody waits for.
    """

    def __init__(self) -> None:
        self._flights: dict[str, _Flight[ResultT]] = {}

    async def once(self, key: str, work: Callable[[], Coroutine[Any, Any, ResultT]]) -> ResultT:
        """The result of the work with a key: of what is in flight already, or else of `work`.

        An error of the work is raised for all who wait for it.
        """
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight(asyncio.create_task(work()))
        flight.waiting += 1
        try:
            await asyncio.wait({flight.task})  # which, unlike awaiting it, does not cancel it
        except asyncio.CancelledError:
            if flight.waiting == 1:
                self._forget(key, flight)  # whoever asks from now on begins anew
                flight.task.cancel()
                await asyncio.gather(flight.task, return_exceptions=True)
            raise
        finally:
            flight.waiting -= 1
        self._forget(key, flight)
        return flight.task.result()

    def _forget(self, key: str, flight: _Flight[ResultT]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
