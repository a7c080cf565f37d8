"""Stand-ins for the slow parts: a teacher made of word weights, an engine that obeys any pattern,
and an OpenAI-compatible server on loopback that answers at once.

`python fakes.py --port 8000` runs the server by itself; `serve_like_vllm` is what a fake
interpreter calls when it stands for `python -m vllm…`.
"""

import argparse
import asyncio
import json
import os
import random
import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from re import _parser as regex_parser
from typing import Any

import numpy as np
import numpy.typing as npt

from codlocal.core.records import Fluency
from codlocal.generation.engine import Reply, Request

WEIGHTS = {
    **dict.fromkeys(("great", "good", "delicious", "friendly", "perfect", "love", "clean"), 2.0),
    **dict.fromkeys(("awful", "bad", "bland", "rude", "terrible", "hate", "dirty"), -2.0),
}
"""A sentiment teacher in fourteen words."""
WORDS = (*WEIGHTS, "the", "and", "very", "so", "not", "it", "was")


class FakeTeacher:
    """Two classes; the log-odds of the second are the sum of the words' weights."""

    def __init__(self, weights: Mapping[str, float] = WEIGHTS, bias: float = 0.0) -> None:
        self.weights = weights
        self.bias = bias
        self.calls: list[list[str]] = []

    def predict_proba(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        self.calls.append(list(texts))
        odds = [self.log_odds(text) for text in texts]
        positive = 1 / (1 + np.exp(-np.array(odds, dtype=np.float64)))
        return np.stack([1 - positive, positive], axis=1)

    def log_odds(self, text: str) -> float:
        found = re.findall(r"\w+", text.lower())
        return self.bias + sum(self.weights.get(word, 0.0) for word in found)


def sample(pattern: str, chooser: random.Random, words: Sequence[str] = WORDS) -> str:
    """A string that matches a pattern; a run of letters becomes one of `words` where it can."""
    return _sample(regex_parser.parse(pattern), chooser, words)


def _sample(parts: Any, chooser: random.Random, words: Sequence[str]) -> str:
    text = ""
    for operation, value in parts:
        name = str(operation)
        if name == "LITERAL":
            text += chr(value)
        elif name == "IN":
            text += _character(value, chooser)
        elif name == "SUBPATTERN":
            text += _sample(value[-1], chooser, words)
        elif name == "BRANCH":
            text += _sample(chooser.choice(value[1]), chooser, words)
        elif name == "MAX_REPEAT":
            text += _repeat(value, chooser, words)
        else:
            raise NotImplementedError(name)
    return text


def _repeat(value: Any, chooser: random.Random, words: Sequence[str]) -> str:
    low, high, parts = value
    high = min(int(high), 30)
    if high >= 10 and str(parts[0][0]) == "IN":
        word = chooser.choice(words)
        if low <= len(word) <= high and all(_allowed(parts[0][1], letter) for letter in word):
            return word
    count = chooser.randint(low, min(high, low + 3))
    return "".join(_sample(parts, chooser, words) for _ in range(count))


_CATEGORIES: dict[str, Callable[[str], bool]] = {
    "CATEGORY_SPACE": str.isspace,
    "CATEGORY_NOT_SPACE": lambda letter: not letter.isspace(),
    "CATEGORY_DIGIT": str.isdigit,
}


def _allowed(members: Any, letter: str) -> bool:
    negated, found = False, False
    for operation, value in members:
        name = str(operation)
        if name == "NEGATE":
            negated = True
        elif name == "LITERAL":
            found |= ord(letter) == value
        elif name == "RANGE":
            found |= value[0] <= ord(letter) <= value[1]
        elif name == "CATEGORY":
            found |= _CATEGORIES[str(value)](letter)
    return found != negated


def _character(members: Any, chooser: random.Random) -> str:
    ranges = [value for operation, value in members if str(operation) == "RANGE"]
    if ranges and str(members[0][0]) != "NEGATE":
        low, high = chooser.choice(ranges)
        return chr(chooser.randint(low, high))
    alphabet = [chr(code) for code in range(32, 127)] + list("éñ猫の😀")
    return chooser.choice([letter for letter in alphabet if _allowed(members, letter)])


def obedient(request: Request, index: int) -> str:
    """A reply that meets the request's constraint; the same request gives the same replies."""
    chooser = random.Random(f"{request.seed}/{request.id}/{index}")
    if isinstance(request.constraint, str):
        return sample(request.constraint, chooser)
    return json.dumps({"text": f"It was {chooser.choice(WORDS)} ."})


def as_reply(text: str, finish_reason: str = "stop") -> Reply:
    """A reply with plausible token counts."""
    return Reply(text, finish_reason, prompt_tokens=20, completion_tokens=len(text.split()) + 4)


@dataclass
class FakeEngine:
    """Answers at once, or after `delay(request)` seconds, with `reply(request, index)`.

    `fail_after` requests it raises `failure`. `most_in_flight` is the highest concurrency seen.
    """

    reply: Callable[[Request, int], str | Reply] = obedient
    delay: Callable[[Request], float] = lambda _request: 0.0
    fail_after: int | None = None
    failure: Exception = field(default_factory=lambda: ConnectionError("the engine is gone"))
    requests: list[Request] = field(default_factory=list)
    scored: list[str] = field(default_factory=list)
    closed: int = 0
    in_flight: int = 0
    most_in_flight: int = 0
    cancelled: int = 0

    @property
    def asked(self) -> list[str]:
        """The ids of the requests, the canary's left out."""
        return [request.id for request in self.requests if not request.id.startswith("canary")]

    async def generate(self, request: Request) -> list[Reply]:
        if self.fail_after is not None and len(self.asked) >= self.fail_after:
            raise self.failure
        self.requests.append(request)
        async with self._flight():
            await asyncio.sleep(self.delay(request))
            replies = (self.reply(request, index) for index in range(request.count))
            return [as_reply(one) if isinstance(one, str) else one for one in replies]

    async def score(self, text: str) -> Fluency:
        self.scored.append(text)
        async with self._flight():
            await asyncio.sleep(0)
            return score_of(text)

    async def aclose(self) -> None:
        self.closed += 1

    def _flight(self) -> "_Flight":
        return _Flight(self)


@dataclass
class _Flight:
    engine: FakeEngine

    async def __aenter__(self) -> None:
        self.engine.in_flight += 1
        self.engine.most_in_flight = max(self.engine.most_in_flight, self.engine.in_flight)

    async def __aexit__(self, kind: type[BaseException] | None, *_rest: object) -> None:
        self.engine.in_flight -= 1
        self.engine.cancelled += kind is asyncio.CancelledError


def score_of(text: str) -> Fluency:
    """A fluency that depends on the text alone: known words are likely, others are not."""
    logs = [-1.0 if word in WORDS else -3.0 for word in re.findall(r"\w+", text.lower())] or [-1.0]
    return Fluency(mean=sum(logs) / len(logs), worst=min(logs), tokens=len(logs))


@dataclass
class FakeServer:
    """What `openai_server` yields: its address, its key, the requests it got, and its mood.

    Set `obeys` to False to have it ignore constraints, `status` to have it refuse every request
    with that HTTP status, and `slow` to have it wait that many seconds before each reply.
    """

    key: str = "secret"
    model: str = "fake-model"
    obeys: bool = True
    status: int | None = None
    slow: float = 0.0
    port: int = 0
    payloads: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def chat(self, payload: dict[str, Any]) -> dict[str, Any]:
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
        if "json" in wanted:
            return json.dumps({"text": "It was great ."})
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
        elif self._is_welcome() and self.path == "/v1/models":
            self._answer(200, {"object": "list", "data": [{"id": self.server.fake.model}]})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not self._is_welcome():
            return
        payload = json.loads(body)
        self.server.fake.payloads.append(payload)
        self.server.fake.stopping.wait(self.server.fake.slow)
        answers = {
            "/v1/chat/completions": self.server.fake.chat,
            "/v1/completions": self.server.fake.completion,
        }
        self._answer(200, answers[self.path](payload))

    def _is_welcome(self) -> bool:
        self.server.fake.paths.append(self.path)
        if self.headers.get("Authorization") != f"Bearer {self.server.fake.key}":
            self._answer(401, {"error": {"message": "no such key", "code": 401}})
        elif self.server.fake.status is not None:
            self._answer(self.server.fake.status, {"error": {"message": "as told", "code": 1}})
        else:
            return True
        return False

    def _answer(self, status: int, value: dict[str, Any]) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
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
