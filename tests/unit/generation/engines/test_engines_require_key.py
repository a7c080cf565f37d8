"""The server's own check of the key, for every path."""

import asyncio

import pytest

from codlocal.generation.engines.in_server.require_key import RequireKey


@pytest.fixture
def answer(monkeypatch):
    """What is sent for a request, or the paths that were passed on."""
    monkeypatch.setenv("VLLM_API_KEY", "secret")

    def ask(kind, path=None, authorization=None):
        said = []

        async def app(scope, _receive, _send):
            said.append(scope.get("path", "passed"))

        async def send(message):
            said.append(message.get("status", message["type"]))

        headers = [(b"authorization", authorization)] if authorization is not None else []
        scope = {"type": kind, "path": path, "headers": headers} if path else {"type": kind}
        asyncio.run(RequireKey(app)(scope, None, send))
        return said

    return ask


@pytest.mark.parametrize("path", ["/v1/completions", "/invocations", "/tokenize", "/healthy", "/"])
@pytest.mark.parametrize("given", [None, b"", b"Bearer ", b"Bearer secre", b"secret", b"\xff"])
def test_nothing_is_passed_on_without_the_key(answer, path, given):
    assert answer("http", path, given) == [401, "http.response.body"]
    assert answer("websocket", path, given) == ["websocket.close"]


def test_with_the_key_everything_is_and_the_health_check_without(answer):
    assert answer("http", "/invocations", b"Bearer secret") == ["/invocations"]
    assert answer("websocket", "/v1/realtime", b"Bearer secret") == ["/v1/realtime"]
    assert answer("http", "/health") == ["/health"]
    assert answer("lifespan") == ["passed"]
