import asyncio
from dataclasses import replace

import pytest
from fakes import FakeEngine

from codlocal.core.errors import EngineError, RunError
from codlocal.generation.engines.engine import Blank, Request, Sampling
from codlocal.generation.engines.recording import Generator, Recorder, store_at
from codlocal.generation.engines.replay import Replay, recorded_generator

GEMMA = Generator(name="gemma", engine="vllm", prompting="completion", weights="aa")
UNKNOWN = GEMMA.model_copy(update={"weights": ""})
BLANK = Blank("Fill in: ___", '{"text": "so')
REQUEST = Request("1/0", "Fill in: ___", r'\{"text": "(good|bad)"\}', 2, 7, Sampling())


@pytest.fixture
def recorded(tmp_path):
    """A store with the replies to `REQUEST` and the score of one text, and those answers."""
    path = tmp_path / "theirs" / "replies.jsonl"

    async def record(recorder):
        return await recorder.generate(REQUEST), await recorder.score("so good")

    with store_at(path) as store:
        return path, asyncio.run(record(Recorder(FakeEngine(), store, GEMMA, 8)))


@pytest.mark.parametrize(
    ("blank", "reason"),
    [
        (BLANK, None),
        (replace(BLANK, begun="so"), "the beginning was never asked: 'so'"),
        (replace(BLANK, prompt="Fill: ___"), "the prompt was never asked: 'Fill: ___'"),
        (replace(BLANK, count=7), "count 7, recorded: 300"),
    ],
)
def test_proposals_are_replayed_or_missed(tmp_path, blank, reason):
    path = tmp_path / "replies.jsonl"
    with store_at(path) as store:
        recorded = asyncio.run(Recorder(FakeEngine(), store, GEMMA, 8).propose(BLANK))
        again = Replay(path, store, GEMMA, list).propose(blank)
        if reason is None:
            assert asyncio.run(again) == recorded
        else:
            with pytest.raises(EngineError, match=reason):
                asyncio.run(again)


def replay(path, request=REQUEST, text="so good", differences=lambda: []):
    async def work(engine):
        return await engine.generate(request), await engine.score(text)

    generator = recorded_generator(path, UNKNOWN)
    with store_at(path) as store:
        return asyncio.run(work(Replay(path, store, generator, differences)))


def test_the_recorded_answers_come_back_without_knowing_the_weights(recorded):
    path, answers = recorded
    assert replay(path) == answers


@pytest.mark.parametrize("change", [{"name": "smollm2"}, {"prompting": "chat"}])
def test_a_run_of_another_generator_is_refused(recorded, change):
    with pytest.raises(EngineError, match=r"only of gemma \(vllm, completion\)"):
        recorded_generator(recorded[0], UNKNOWN.model_copy(update=change))


def test_an_empty_store_is_refused(tmp_path):
    (tmp_path / "replies.jsonl").write_text("")
    with pytest.raises(EngineError, match="only of nobody"):
        recorded_generator(tmp_path / "replies.jsonl", UNKNOWN)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"sampling": Sampling(temperature=0.9)}, r"temperature 0.9, recorded: 0.7"),
        ({"sampling": Sampling(top_p=0.5)}, r"top_p 0.5, recorded: 0.95"),
        ({"count": 5}, r"count 5, recorded: 2"),
        ({"seed": 9}, r"the seed was never asked: '9'"),
        ({"constraint": "x+"}, r"the constraint was never asked: 'x\+'"),
        ({"prompt": "Other words"}, r"the prompt was never asked: 'Other words'"),
    ],
)
def test_a_miss_says_what_differs_and_what_to_do(recorded, change, reason):
    with pytest.raises(EngineError, match=reason) as caught:
        replay(recorded[0], replace(REQUEST, **change))
    assert caught.value.exit_code == 3
    assert f"--config {recorded[0].parent}/run.toml" in caught.value.hint
    assert caught.value.message.count("\n") == 1


def test_a_text_that_was_not_scored_is_a_miss_too(recorded):
    with pytest.raises(EngineError, match="the text was never asked: 'so bad'"):
        replay(recorded[0], text="so bad")


def test_what_the_runs_say_of_themselves_comes_first(recorded):
    with pytest.raises(EngineError, match=r"run:\n  generator.seed: 0 -> 1\n  the seed"):
        replay(
            recorded[0], replace(REQUEST, seed=9), differences=lambda: ["generator.seed: 0 -> 1"]
        )


def test_parts_that_were_asked_apart_are_said_to_be_so(recorded):
    path = recorded[0]
    with store_at(path) as store:
        recorder = Recorder(FakeEngine(), store, GEMMA, 8)
        asyncio.run(recorder.generate(replace(REQUEST, seed=9, prompt="Other words")))
    with pytest.raises(EngineError, match="never all together"):
        replay(path, replace(REQUEST, seed=9))


def test_a_damaged_store_of_another_run_is_not_to_be_made_anew_here(recorded):
    path, _ = recorded
    path.write_text(path.read_text() + "{}\n")
    with pytest.raises(RunError, match="is not a valid") as caught:
        recorded_generator(path, UNKNOWN)
    assert "--replay" in caught.value.hint
    assert "--redo" not in caught.value.hint
