"""What an attached server may answer to the question for its models."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from codlocal.core.errors import EngineError
from codlocal.generation.engines import bounds
from codlocal.pipeline import engines


@pytest.fixture
def answering():
    """Start a server on loopback that gives an answer; returns its address."""
    started = []

    def start(write):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.end_headers()
                write(self.wfile)

            def log_message(self, *_):
                """Say nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        started.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in started:
        server.shutdown()
        server.server_close()


def _endless(out):
    try:
        while True:
            out.write(b" " * 65536)
    except OSError:  # the client has left
        return


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (_endless, "has no end"),
        (lambda out: out.write(b"[" * 200_000), "no OpenAI-compatible server"),
        (lambda out: out.write(b"<html>"), "no OpenAI-compatible server"),
    ],
)
def test_an_answer_without_end_or_sense_is_no_servers(answering, write, message):
    with pytest.raises(EngineError, match=message):
        engines._served_model(answering(write), "none", trust_env=False)


def test_a_slow_answer_comes_to_an_end(answering, monkeypatch):
    monkeypatch.setattr(bounds, "MOST_SECONDS", 0.0)
    with pytest.raises(EngineError, match="has no end"):
        engines._served_model(answering(lambda out: out.write(b"{}")), "none", trust_env=False)


def test_the_first_model_is_the_one_that_is_served(answering):
    root = answering(lambda out: out.write(b'{"data": [{"id": "m", "root": "/w"}]}'))
    assert engines._served_model(root, "none", trust_env=False) == engines.Served("m", "/w")


def test_a_proxy_that_can_not_be_used_is_told(monkeypatch):
    def fails(**_options):
        raise ImportError("Using SOCKS proxy, but the 'socksio' package is not installed.")

    monkeypatch.setattr(engines.httpx, "Client", fails)
    with pytest.raises(EngineError, match="SOCKS proxy") as caught:
        engines._served_model("http://10.0.0.1:1", "none", trust_env=True)
    assert "proxy of the environment" in caught.value.hint
