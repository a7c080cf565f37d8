"""What an answer over HTTP may take: no server, whosever it is, fills our memory or holds us up.

The hooks go into the `event_hooks` of an httpx client, with `HEADERS` among its headers. They count
what comes after an answer's head: how long a server thinks before is the client's own timeout.
"""

import time
from collections.abc import AsyncIterator, Iterator
from importlib import import_module
from types import ModuleType
from typing import cast

import httpx

MOST_BYTES = 64_000_000
"""Far more than the scores of a text of 128,000 tokens."""
MOST_SECONDS = 60.0
HEADERS = {"Accept-Encoding": "identity"}
"""Packed, a small answer could be a huge one."""


class BoundsError(httpx.TransportError):
    """An answer without an end in sight, or a packed one that was not asked for."""


class _Meter:
    def __init__(self) -> None:
        self._bytes, self._until = 0, time.monotonic() + MOST_SECONDS

    def count(self, part: bytes) -> bytes:
        self._bytes += len(part)
        if self._bytes > MOST_BYTES or time.monotonic() > self._until:
            raise BoundsError("the answer has no end in sight")
        return part


def bound(response: httpx.Response) -> None:
    """Have an answer's body fail with `BoundsError` where it goes beyond the bounds.

    Raises:
        BoundsError: it is packed.

    """
    _refuse_packed(response)
    whole = cast("httpx.SyncByteStream", response.stream)

    class Stream(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            meter = _Meter()
            for part in whole:
                yield meter.count(part)

        def close(self) -> None:
            whole.close()

    response.stream = Stream()


async def bound_async(response: httpx.Response) -> None:
    """`bound` for an asynchronous client.

    Raises:
        BoundsError: the answer is packed.

    """
    _refuse_packed(response)
    whole = cast("httpx.AsyncByteStream", response.stream)

    class Stream(_httpx_of(response).AsyncByteStream):  # type: ignore[misc]
        async def __aiter__(self) -> AsyncIterator[bytes]:
            meter = _Meter()
            async for part in whole:
                yield meter.count(part)

        async def aclose(self) -> None:
            await whole.aclose()

    response.stream = Stream()


def _httpx_of(response: httpx.Response) -> ModuleType:
    """The httpx that a response is of: that of openai may be a fork, which takes no other's."""
    return import_module(type(response).__module__.partition(".")[0])


def _refuse_packed(response: httpx.Response) -> None:
    packing = response.headers.get("Content-Encoding", "").strip().lower()
    if packing not in {"", "identity"}:
        raise BoundsError(f"the answer is packed ({packing}), which was not asked for")
