"""Answers of servers that send too much, for too long, or packed."""

import asyncio
import gzip

import httpx
import pytest
from vllm_rig import ask, doing

from codlocal.core.errors import EngineError
from codlocal.generation.engines import bounds


def packed(_request):
    headers = {"Content-Encoding": "gzip"}
    return httpx.Response(200, headers=headers, content=gzip.compress(b"{}"))


@pytest.mark.parametrize("work", ["generate", "score", "propose"])
@pytest.mark.parametrize("bound", ["MOST_BYTES", "MOST_SECONDS"])
def test_an_answer_without_an_end_in_sight_is_an_error(server, monkeypatch, work, bound):
    monkeypatch.setattr(bounds, bound, 0)
    with pytest.raises(EngineError, match="can't be used: the answer has no end") as caught:
        ask(server, doing(work))
    assert "Rows so far are kept" in caught.value.hint


def test_a_packed_answer_is_not_unpacked():
    hooks = {"response": [bounds.bound]}
    with (
        httpx.Client(transport=httpx.MockTransport(packed), event_hooks=hooks) as client,
        pytest.raises(bounds.BoundsError, match="packed"),
    ):
        client.get("http://127.0.0.1")


@pytest.mark.parametrize("said", ["", "Identity", " identity "])
def test_an_answer_that_says_that_it_is_not_packed_is_taken(said):
    response = httpx.Response(200, headers={"Content-Encoding": said}, content=b"{}")
    hooks = {"response": [bounds.bound]}
    transport = httpx.MockTransport(lambda _: response)
    with httpx.Client(transport=transport, event_hooks=hooks) as client:
        assert client.get("http://127.0.0.1").json() == {}


def test_nor_is_it_by_an_asynchronous_client():
    async def get():
        hooks = {"response": [bounds.bound_async]}
        transport = httpx.MockTransport(packed)
        async with httpx.AsyncClient(transport=transport, event_hooks=hooks) as client:
            await client.get("http://127.0.0.1")

    with pytest.raises(bounds.BoundsError, match="packed"):
        asyncio.run(get())
