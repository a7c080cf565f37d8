"""The parts of scripts/bench that need no real server."""

import pytest
from benchmarks.bare_client import requests_per_second
from benchmarks.memory import peak_memory
from fake_server import openai_server

from codlocal.core import jsonl
from codlocal.core.records import Verdict
from codlocal.generation.engines.engine import Blank, Request, Sampling
from codlocal.generation.engines.recording import Question

pytestmark = pytest.mark.integration


def test_the_instant_server_flips_every_original(tmp_path):
    rows = peak_memory([3, 6], tmp_path)
    assert [row["originals"] for row in rows] == [row["candidates"] for row in rows] == [3, 6]
    assert all(row["peak_mb"] > 20 for row in rows)
    verdicts = list(jsonl.read_rows(tmp_path / "memory-6" / "verdicts.jsonl", Verdict))
    assert len(verdicts) == 6
    assert all(verdict.flipped and verdict.fluency for verdict in verdicts)


def test_the_bare_client_sends_what_was_recorded():
    sampling = Sampling(0.4, 0.8, 50)
    asked = [
        Question.of(Request("1", "Say so.", "(yes|no)", 3, 77, sampling)),
        Question(prompt="good food"),
        Question.of_blank(Blank("Fill in: ___", "so", 9)),
    ]
    with openai_server() as server:
        rate = requests_per_second(server.url, server.key, server.model, asked, concurrency=1)
        regex, scored, blank = server.payloads
    assert rate > 0
    assert regex["structured_outputs"] == {"regex": "(yes|no)"}
    assert (regex["n"], regex["seed"], regex["temperature"]) == (3, 77, 0.4)
    assert regex["messages"] == [{"role": "user", "content": "Say so."}]
    assert (scored["prompt"], scored["prompt_logprobs"]) == ("good food", 0)
    assert [message["content"] for message in blank["messages"]] == ["Fill in: ___", "so"]
    assert (blank["top_logprobs"], blank["continue_final_message"]) == (9, True)
