"""A tiny OpenAI-compatible server on loopback that obeys constraints and answers at once.

`python fake_server.py --port 8000` runs it by itself; `serve_like_vllm` is what a fake interpreter
calls when it stands for `python -m vllm…`.
"""

import argparse
import json
import os
import random
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from fakes import WORDS, sample


@dataclass
class FakeServer:
    """What `openai_server` yields: its address, its key, the requests it got, and its mood.

    Set `obeys` to False to have it ignore constraints, `status` to have it refuse every request
    with that HTTP status, `redirect` to have it send them all on to that address, `raw` to have it
    answer any with a type of content and these bytes, `most_logprobs` to have it refuse to give
    more, and `slow` to have it wait that many seconds before each reply.
    """

    key: str = "secret"
    model: str = "fake-model"
    root: str | None = None
    obeys: bool = True
    status: int | None = None
    redirect: str | None = None
    raw: tuple[str, bytes] | None = None
    slow: float = 0.0
    most_logprobs: int = 1000
    port: int = 0
    payloads: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def chat(self, payload: dict[str, Any]) -> dict[str, Any]:
        if payload.get("logprobs"):
            return self._next_tokens(payload)
        texts = [self._text(payload, index) for index in range(payload.get("n") or 1)]
        return {
            "id": "chat-1", "object": "chat.completion", "created": 0, "model": self.model,
            "choices": [
                {
                    "index": index, "finish_reason": "stop", "logprobs": None,
                    "message": {"role": "assistant", "content": text},
                }
                for index, text in enumerate(texts)
            ],
            "usage": _usage(20, 10 * len(texts)),
        }  # fmt: skip

    def _next_tokens(self, payload: dict[str, Any]) -> dict[str, Any]:
        found = [
            {"token": f" {word}", "logprob": -1.0 - at, "bytes": None}
            for at, word in enumerate(WORDS[: payload["top_logprobs"]])
        ]
        content = [{**found[0], "top_logprobs": found}]
        return {
            "id": "chat-1", "object": "chat.completion", "created": 0, "model": self.model,
            "choices": [
                {
                    "index": 0, "finish_reason": "length", "logprobs": {"content": content},
                    "message": {"role": "assistant", "content": found[0]["token"]},
                }
            ],
            "usage": _usage(20, 1),
        }  # fmt: skip

    def completion(self, payload: dict[str, Any]) -> dict[str, Any]:
        words = payload["prompt"].split()
        logs: list[Any] = [None]
        for at, word in enumerate(words):
            logs.append({str(at): {"logprob": -1.0 - at, "rank": 1, "decoded_token": word}})
        return {
            "id": "completion-1", "object": "text_completion", "created": 0, "model": self.model,
            "choices": [
                {
                    "index": 0, "finish_reason": "length", "logprobs": None, "text": "x",
                    "prompt_logprobs": logs,
                }
            ],
            "usage": _usage(len(words) + 1, 1),
        }  # fmt: skip

    def _text(self, payload: dict[str, Any], index: int) -> str:
        wanted = payload.get("structured_outputs") or {}
        if not self.obeys:
            return "What a lovely sunny day it is."
        chooser = random.Random(f"{payload.get('seed')}/{index}")
        if "regex" in wanted:
            return sample(wanted["regex"], chooser)
        return "Free text."


def _usage(prompt: int, completion: int) -> dict[str, int]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


class _Handler(BaseHTTPRequestHandler):
    server: "_HttpServer"
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        # Otherwise the second small write of a reply waits 40 ms for the first one's receipt.
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def do_GET(self) -> None:
        if self.path == "/health":
            self._answer(200, {})
            return
        fake = self.server.fake
        if not self._is_welcome():
            return
        if fake.raw is not None:
            self._send(200, *fake.raw)
        elif self.path == "/v1/models":
            told = {"id": fake.model, "root": fake.root}
            self._answer(200, {"object": "list", "data": [told]})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not self._is_welcome():
            return
        payload = json.loads(body)
        self.server.fake.payloads.append(payload)
        self.server.fake.stopping.wait(self.server.fake.slow)
        if (payload.get("top_logprobs") or 0) > self.server.fake.most_logprobs:
            self._answer(400, {"error": {"message": "too many logprobs", "code": 400}})
            return
        if self.server.fake.raw is not None:
            self._send(200, *self.server.fake.raw)
            return
        answers = {
            "/v1/chat/completions": self.server.fake.chat,
            "/v1/completions": self.server.fake.completion,
        }
        self._answer(200, answers[self.path](payload))

    def _is_welcome(self) -> bool:
        self.server.fake.paths.append(self.path)
        if self.headers.get("Authorization") != f"Bearer {self.server.fake.key}":
            self._answer(401, {"error": {"message": "no such key", "code": 401}})
        elif self.server.fake.redirect is not None:
            self.send_response(307)
            self.send_header("Location", self.server.fake.redirect + self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.server.fake.status is not None:
            self._answer(self.server.fake.status, {"error": {"message": "as told", "code": 1}})
        else:
            return True
        return False

    def _answer(self, status: int, value: dict[str, Any]) -> None:
        self._send(status, "application/json", json.dumps(value).encode())

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, fake: FakeServer) -> None:
        super().__init__(("127.0.0.1", fake.port), _Handler)
        self.fake = fake
        fake.port = self.server_address[1]


def http_server(server: FakeServer) -> _HttpServer:
    """A listening HTTP server on loopback; `server.port` 0 becomes the port it got."""
    return _HttpServer(server)


@contextmanager
def openai_server(**mood: Any) -> Iterator[FakeServer]:
    """Run a `FakeServer` in a thread for the length of the block."""
    server = FakeServer(**mood)
    with http_server(server) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.stopping.set()
            http.shutdown()
            thread.join()


def serve_like_vllm(arguments: Sequence[str], **mood: Any) -> None:
    """Serve on the `--port` of a vLLM command line, with the key of its environment, for ever."""
    port = int(arguments[list(arguments).index("--port") + 1])
    server = FakeServer(key=os.environ["VLLM_API_KEY"], model="generator", port=port, **mood)
    with http_server(server) as http:
        http.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--key", default="none")
    parser.add_argument("--slow", type=float, default=0.0, help="seconds before each reply")
    given = parser.parse_args()
    with http_server(FakeServer(key=given.key, port=given.port, slow=given.slow)) as http:
        http.serve_forever()


if __name__ == "__main__":
    main()
