import pytest
from fake_server import FakeServer, http_server, openai_server
from vllm_rig import ask, doing, request

from codlocal.core.errors import EngineError
from codlocal.generation.engines import vllm_engine
from codlocal.generation.engines.vllm_engine import is_loopback


def gone():
    """A server of which only the address is left."""
    server = FakeServer()
    http_server(server).server_close()
    return server


@pytest.mark.parametrize("work", ["generate", "score"])
def test_no_answer_is_worth_a_retry(work):
    with pytest.raises(EngineError, match="does not answer") as caught:
        ask(gone(), doing(work))
    assert "again" in caught.value.hint
    assert not str(caught.value).endswith("..")


def test_the_death_of_our_own_server_is_the_better_explanation():
    death = EngineError("The vLLM server died: the disk is full.")
    with pytest.raises(EngineError) as caught:
        ask(gone(), doing("score"), explain_death=lambda: death)
    assert caught.value is death


def test_a_crashed_engine_is_given_the_time_to_die(server, monkeypatch):
    monkeypatch.setattr(vllm_engine, "_DYING_SECONDS", 0.05)
    death, server.status = EngineError("The vLLM server died."), 500
    signs = iter([None, None, death])
    with pytest.raises(EngineError) as caught:
        ask(server, doing("generate"), explain_death=lambda: next(signs))
    assert caught.value is death
    with pytest.raises(EngineError, match="answers 500: ") as caught:
        ask(server, doing("generate"), explain_death=lambda: None)
    assert "runtime.request_seeds=false" in caught.value.hint
    assert "Is it running" not in caught.value.hint


def test_a_server_that_can_not_take_seeds_gets_none(server):
    ask(server, doing("generate"), seeds=False)
    assert server.payloads[0]["seed"] is None


def test_a_local_server_is_never_asked_through_a_proxy(server, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert len(ask(server, lambda engine: engine.generate(request()))) == 3


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://127.0.0.1:8000", True),
        ("http://127.9.9.9", True),
        ("http://[::1]:8000", True),
        ("http://localhost:1", True),
        ("http://10.0.0.1", False),
        ("http://localhost.example.com", False),
        ("http://gpu-server:8000", False),
    ],
)
def test_loopback_is_this_machine_only(url, local):
    assert is_loopback(url) is local


@pytest.mark.parametrize("work", ["generate", "propose", "score"])
def test_texts_do_not_follow_a_redirect(server, work):
    with openai_server(redirect=server.url) as near:
        with pytest.raises(EngineError, match=f"another address .{server.url}/v1/") as caught:
            ask(near, doing(work))
        assert near.paths
    assert not server.paths
    assert "--server-url" in caught.value.hint
