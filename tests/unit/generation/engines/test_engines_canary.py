import asyncio

import pytest
from fake_server import openai_server
from fakes import FakeEngine

from codlocal.core.errors import EngineError
from codlocal.generation.engines import canary
from codlocal.generation.engines.engine import Reply, refusal
from codlocal.generation.engines.vllm_engine import VllmEngine


def check(reply):
    asyncio.run(canary.check(FakeEngine(reply)))


def test_an_obeying_engine_passes():
    engine = FakeEngine()
    asyncio.run(canary.check(engine))
    assert [request.id for request in engine.requests] == ["canary"]


@pytest.mark.parametrize("text", ["What a day!", "", '{"text": "zq123-beta"}', '{"text": "zq12'])
def test_an_engine_that_ignores_constraints_is_refused(text):
    with pytest.raises(EngineError, match="ignores constraints: it answered") as caught:
        check(lambda _request, _index: text)
    assert "0.12" in caught.value.hint
    assert caught.value.exit_code == 3


def test_no_reply_at_all_is_refused():
    class Silent(FakeEngine):
        async def generate(self, request):
            return []

    with pytest.raises(EngineError, match="no reply"):
        asyncio.run(canary.check(Silent()))


@pytest.mark.parametrize(
    ("why", "hint"),
    [
        ("400: you must provide a chat template", "--set generator.prompting=completion"),
        ("400: unknown field", "0.12"),
    ],
)
def test_a_refused_request_does_not_say_that_constraints_are_ignored(why, hint):
    with pytest.raises(
        EngineError, match=rf"did not answer a request .*\(refused: {why}\)"
    ) as caught:
        check(lambda _request, _index: Reply("", refusal(why), 0, 0))
    assert hint in caught.value.hint


@pytest.mark.parametrize("obeys", [True, False])
def test_a_server_that_answers_200_with_free_text_is_found_out(obeys):
    with openai_server(obeys=obeys) as server:

        async def attach():
            engine = VllmEngine(server.url, server.key, server.model)
            try:
                await canary.check(engine)
            finally:
                await engine.aclose()

        if obeys:
            asyncio.run(attach())
        else:
            with pytest.raises(EngineError, match="ignores constraints"):
                asyncio.run(attach())
