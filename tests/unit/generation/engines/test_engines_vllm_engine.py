import dataclasses
import json
import re

import pytest
from fake_server import openai_server
from vllm_rig import PATTERN, ask, doing, request

from codlocal.core.errors import EngineError
from codlocal.generation.engines.engine import NO_REPLY, Blank, Sampling, is_failure


def test_a_request_says_all_that_matters(server):
    replies = ask(server, lambda engine: engine.generate(request()))
    [payload] = server.payloads
    assert payload["structured_outputs"] == {"regex": f"({PATTERN})"}
    assert payload["messages"] == [{"role": "user", "content": "Say so."}]
    assert (payload["n"], payload["seed"], payload["model"]) == (3, 77, "fake-model")
    assert (payload["temperature"], payload["top_p"]) == (0.4, 0.8)
    assert payload["max_completion_tokens"] == 50
    assert len(replies) == 3
    for reply in replies:
        assert re.fullmatch(PATTERN, reply.text)
        assert (reply.finish_reason, reply.prompt_tokens, reply.completion_tokens) == (
            "stop", 20, 10,
        )  # fmt: skip


def test_a_models_own_sampling_is_not_used(server):
    ask(server, lambda engine: engine.generate(request()))
    ask(server, lambda engine: engine.propose(BLANK))
    for payload in server.payloads:
        assert (payload["top_k"], payload["min_p"], payload["repetition_penalty"]) == (0, 0, 1)
        assert payload["presence_penalty"] == payload["frequency_penalty"] == 0


@pytest.mark.parametrize("thinks", [True, False])
def test_a_model_that_thinks_is_asked_not_to(server, thinks):
    ask(server, lambda engine: engine.generate(request()), thinks=thinks)
    ask(server, lambda engine: engine.propose(BLANK), thinks=thinks)
    told = {"enable_thinking": False} if thinks else None
    assert [payload.get("chat_template_kwargs") for payload in server.payloads] == [told, told]


def test_a_text_is_scored_as_a_prompt(server):
    score = ask(server, lambda engine: engine.score("good food here"))
    [payload] = server.payloads
    assert payload["prompt"] == "good food here"
    assert payload["prompt_logprobs"] == 0
    assert payload["add_special_tokens"] is True
    assert payload["max_tokens"] == 1
    assert (score.tokens, score.worst, score.mean, score.generated) == (3, -3.0, -2.0, 1)
    assert (score.token_ids, score.log_probabilities) == ((0, 1, 2), (-1.0, -2.0, -3.0))


BLANK = Blank("Fill in: ___", '{"text": "so', 12)


def test_a_blank_asks_how_a_begun_reply_goes_on(server):
    found = ask(server, lambda engine: engine.propose(BLANK))
    [payload] = server.payloads
    assert payload["messages"] == [
        {"role": "user", "content": "Fill in: ___"},
        {"role": "assistant", "content": '{"text": "so'},
    ]
    assert payload["continue_final_message"] is True
    assert payload["add_generation_prompt"] is False
    assert (payload["logprobs"], payload["top_logprobs"]) == (True, 12)
    assert (payload["max_completion_tokens"], payload["temperature"]) == (1, 0)
    assert found.tokens[:2] == ((" great", -1.0), (" good", -2.0))
    assert (len(found.tokens), found.prompt_tokens, found.finish_reason) == (12, 20, "stop")


def test_a_server_that_gives_few_proposals_is_asked_for_few_from_then_on():
    async def twice(engine):
        return [await engine.propose(Blank("Fill in: ___", "so")) for _ in range(2)]

    with openai_server(most_logprobs=20) as server:
        found = ask(server, twice)
    assert [payload["top_logprobs"] for payload in server.payloads] == [300, 20, 20]
    assert all(one.finish_reason == "stop" and one.tokens for one in found)


def test_a_blank_that_the_server_refuses_says_why():
    with openai_server(status=400) as server:
        found = ask(server, lambda engine: engine.propose(BLANK))
    assert found.tokens == ()
    assert found.finish_reason.startswith("refused: ")
    assert "as told" in found.finish_reason


def test_proposals_of_a_server_that_is_gone_are_an_error(server):
    with pytest.raises(EngineError, match="refuses the key"):
        ask(server, lambda engine: engine.propose(BLANK), key="wrong")


def test_the_scoring_prefix_gives_the_first_word_a_context(server):
    ask(server, lambda engine: engine.score("good"), scoring_prefix="<bos> ")
    assert server.payloads[0]["prompt"] == "<bos> good"
    assert server.payloads[0]["add_special_tokens"] is False


WORKS = {
    "generate": lambda engine: engine.generate(request()),
    "propose": lambda engine: engine.propose(BLANK),
    "score": lambda engine: engine.score("two words"),
}


def choice(**more):
    return {"index": 0, "finish_reason": "stop", "message": {"content": "so"}, **more}


def says(*choices):
    return json.dumps({"id": "1", "object": "x", "created": 0, "choices": choices}).encode()


def answering(server, body, kind="application/json"):
    """Have the server answer everything with some bytes and status 200."""
    server.raw = (kind, body)


@pytest.mark.parametrize("work", WORKS)
@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/html", b"<html>Log in, please</html>"),
        ("application/json", b'{"choices": [{"ind'),
        ("application/json", b"null"),
        ("application/json", b'{"choices": null}'),
        ("application/json", b'{"object": "error", "message": "overloaded"}'),
        ("application/json", says("so")),
        ("application/json", says(choice(finish_reason=None, logprobs=None))),
        ("application/json", b'\xff\xfe{"choices": []}'),
    ],
)
def test_an_answer_of_another_shape_is_an_error_that_shows_it(server, work, kind, body):
    answering(server, body, kind)
    with pytest.raises(EngineError, match=r"answer that can't be used: .*begins with") as caught:
        ask(server, WORKS[work])
    assert caught.value.exit_code == 3
    assert "vLLM server" in caught.value.hint


NO_PLACE = {"content": [{"token": "a", "logprob": -1.0, "top_logprobs": []}]}


@pytest.mark.parametrize(
    "body",
    [
        says(),
        says(choice()),
        says(choice(logprobs=None)),
        says(choice(logprobs={"content": None})),
        says(choice(logprobs={"content": []})),
        says(choice(logprobs=NO_PLACE)),
    ],
)
def test_no_proposals_are_an_error_rather_than_none_that_flip(server, body):
    answering(server, body)
    with pytest.raises(EngineError, match="can't be used"):
        ask(server, WORKS["propose"])


@pytest.mark.parametrize(
    "body",
    [
        says(),
        says(choice()),
        says(choice(prompt_logprobs=None)),
        says(choice(prompt_logprobs=[])),
        says(choice(prompt_logprobs=[None, None, {"5": {"logprob": -1.0}}])),
        says(choice(prompt_logprobs=[None, {}])),
        says(choice(prompt_logprobs=[None, {"a": {"logprob": -1.0}}])),
        says(choice(prompt_logprobs=[None, {"5": {"logprob": None}}])),
    ],
)
def test_a_text_without_scores_is_an_error_rather_than_certain(server, body):
    answering(server, body)
    with pytest.raises(EngineError, match="can't be used"):
        ask(server, WORKS["score"])


@pytest.mark.parametrize("value", ["NaN", "-Infinity", "Infinity"])
def test_numbers_that_overflow_are_an_error_that_says_what_helps(server, value):
    body = says(choice(prompt_logprobs=[None, {"5": {"logprob": "HERE"}}]))
    answering(server, body.replace(b'"HERE"', value.encode()))
    with pytest.raises(EngineError, match="no finite number") as caught:
        ask(server, WORKS["score"])
    assert "runtime.dtype=float32" in caught.value.hint


def next_tokens(*values):
    found = [{"token": str(at), "logprob": value} for at, value in enumerate(values)]
    return says(choice(logprobs={"content": [{**found[0], "top_logprobs": found}]}))


def test_impossible_next_tokens_are_none_and_numbers_that_are_none_an_error(server):
    answering(server, next_tokens(-1.0, float("-inf")))
    assert ask(server, WORKS["propose"]).tokens == (("0", -1.0),)
    answering(server, next_tokens(-1.0, float("nan")))
    with pytest.raises(EngineError, match="no finite number"):
        ask(server, WORKS["propose"])


def test_a_text_of_one_token_has_no_score(server):
    answering(server, says(choice(prompt_logprobs=[None])))
    assert ask(server, WORKS["score"]).tokens == 0


@pytest.mark.parametrize("given", [0, 1, 2, 3])
def test_replies_that_are_missing_have_failed(server, given):
    answering(server, says(*[choice()] * given))
    replies = ask(server, lambda engine: engine.generate(request(count=2)))
    kinds = [reply.finish_reason for reply in replies]
    assert kinds == (["stop"] * given + [NO_REPLY] * 2)[:2]
    assert [is_failure(kind) for kind in kinds] == [kind == NO_REPLY for kind in kinds]


def test_without_a_temperature_the_one_reply_is_asked_for_once(server):
    greedy = dataclasses.replace(request(), sampling=Sampling(temperature=0))
    replies = ask(server, lambda engine: engine.generate(greedy))
    assert server.payloads[0]["n"] == 1
    assert len({reply.text for reply in replies}) == 1
    assert [reply.completion_tokens > 0 for reply in replies] == [True, False, False]


def test_no_token_of_an_answer_is_lost_when_its_replies_share_them(server):
    usage = {"prompt_tokens": 9, "completion_tokens": 11, "total_tokens": 20}
    body = json.dumps({"choices": [choice()] * 3, "usage": usage}).encode()
    answering(server, body)
    replies = ask(server, lambda engine: engine.generate(request(count=3)))
    assert [reply.completion_tokens for reply in replies] == [4, 4, 3]


def test_a_server_that_does_not_count_tokens_is_no_crash(server):
    answering(server, says(choice(message={"content": None}, finish_reason="length")))
    [reply] = ask(server, lambda engine: engine.generate(request(count=1)))
    assert (reply.text, reply.finish_reason, reply.completion_tokens) == ("", "length", 0)


@pytest.mark.parametrize("work", ["generate", "score"])
def test_a_wrong_key_is_named(server, work):
    with pytest.raises(EngineError, match="refuses the key") as caught:
        ask(server, doing(work), key="wrong")
    assert "CODLOCAL_SERVER_KEY" in caught.value.hint


def test_a_text_that_can_not_be_scored_gives_the_servers_words(server):
    server.status = 400
    with pytest.raises(EngineError, match=r"score a text of 6 characters: .*as told") as caught:
        ask(server, doing("score"))
    assert "runtime.max_model_len" in caught.value.hint


@pytest.mark.parametrize("work", ["generate", "score"])
def test_any_other_refusal_gives_the_servers_words(server, work):
    server.status = 404
    with pytest.raises(EngineError, match=r"refuses a request: .*as told") as caught:
        ask(server, doing(work))
    assert "same command again" in caught.value.hint


@pytest.mark.parametrize("status", [400, 422])
def test_a_refused_request_fails_alone(server, status):
    server.status = status
    replies = ask(server, doing("generate"))
    assert len(replies) == request().count
    assert all(reply.finish_reason.startswith("refused: ") for reply in replies)
    assert all("as told" in reply.finish_reason for reply in replies)
    assert all(is_failure(reply.finish_reason) for reply in replies)
