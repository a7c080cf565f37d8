"""`codlocal serve`: a real vLLM server on loopback, constrained, guarded by a key, and stopped."""

import asyncio
import json
import math
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import openai
import pytest

from codlocal.generation.engines.engine import MOST_PROPOSALS, Blank, Proposals
from codlocal.generation.engines.vllm_engine import VllmEngine

Codlocal = Callable[..., "subprocess.Popen[str]"]


def _group_of(port: int) -> list[int]:
    """The processes whose command line names the port."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = folder.joinpath("cmdline").read_bytes()
        except OSError:
            continue
        if b"api_server" in command and str(port).encode() in command:
            found.append(int(folder.name))
    return found


async def _proposals(url: str, key: str, model: str) -> Proposals:
    engine = VllmEngine(url, key, model)
    try:
        return await engine.propose(Blank("Write a positive review.", '{"text": "The food was'))
    finally:
        await engine.aclose()


@pytest.mark.timeout(300)
def test_serves_constrained_replies_until_it_is_told_to_stop(
    generator: tuple[str, ...], codlocal: Codlocal
) -> None:
    process = codlocal("serve", *generator, "--json", "--run", "r")
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        facts = json.loads(line)
        assert facts["url"].startswith("http://127.0.0.1:")

        client = openai.OpenAI(base_url=f"{facts['url']}/v1", api_key=facts["key"])
        model = facts["served_as"]
        assert model == client.models.list().data[0].id
        pattern = r'\{"text": "[a-z]{3,8} [0-9]{2}"\}'
        reply = client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": "Say hello."}],
            seed=1,
            max_completion_tokens=64,
            extra_body={"structured_outputs": {"regex": pattern}},
        )
        assert reply.choices[0].finish_reason == "stop"
        assert re.fullmatch(pattern, reply.choices[0].message.content or "")

        found = asyncio.run(_proposals(facts["url"], facts["key"], model))
        assert len(found.tokens) == MOST_PROPOSALS
        values = [value for _, value in found.tokens]
        assert values == sorted(values, reverse=True)
        assert 0.5 < sum(map(math.exp, values)) <= 1.001
        assert " good" in dict(found.tokens)

        stranger = openai.OpenAI(base_url=f"{facts['url']}/v1", api_key="wrong", max_retries=0)
        with pytest.raises(openai.AuthenticationError):
            stranger.models.list()
        client.close()
        stranger.close()
        key = {"Authorization": f"Bearer {facts['key']}"}
        body = {"model": model, "prompt": "Hello"}
        for path in ("/tokenize", "/invocations", "/openapi.json", "/metrics"):
            answer = httpx.post(f"{facts['url']}{path}", json=body)
            assert (path, answer.status_code) == (path, 401)
        assert httpx.post(f"{facts['url']}/tokenize", json=body, headers=key).status_code == 200
        assert httpx.get(f"{facts['url']}/health").status_code == 200

        port = int(facts["url"].rsplit(":", 1)[1])
        assert _group_of(port)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
        assert not _group_of(port)
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{facts['url']}/health")
    finally:
        process.kill()
        process.communicate()


@pytest.mark.timeout(300)
def test_dies_with_its_parent(generator: tuple[str, ...], codlocal: Codlocal) -> None:
    process = codlocal("serve", *generator, "--port", "18917")
    deadline = time.monotonic() + 60
    while not _group_of(18917) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert _group_of(18917)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    deadline = time.monotonic() + 30
    while _group_of(18917) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not _group_of(18917)
