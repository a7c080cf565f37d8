import asyncio
from dataclasses import replace

import pytest
from fakes import FakeEngine, as_reply, score_of

from codlocal.generation.constraint import EditReply
from codlocal.generation.engines.engine import Blank, Proposals, Request, Sampling
from codlocal.generation.engines.recording import Generator, Question, Recorder, key_of, store_at

GEMMA = Generator(name="gemma", engine="vllm", prompting="completion", weights="aa")
REQUEST = Request("1/0", "Fill in: ___", r'\{"text": "(good|bad)"\}', 2, 7, Sampling())


@pytest.fixture
def store(tmp_path):
    with store_at(tmp_path / "replies.jsonl") as opened:
        yield opened


def ask(recorder, *requests, scored=()):
    async def work():
        replies = [await recorder.generate(one) for one in requests]
        return replies, [await recorder.score(text) for text in scored]

    return asyncio.run(work())


def test_what_was_answered_once_is_never_asked_again(store):
    engine = FakeEngine()
    first = ask(Recorder(engine, store, GEMMA), REQUEST, scored=["so good"])
    silent = FakeEngine(fail_after=0)
    recorder = Recorder(silent, store, GEMMA)
    assert ask(recorder, REQUEST, scored=["so good"]) == first
    assert recorder.asked == len(silent.requests) == len(silent.scored) == 0
    assert first[1] == [score_of("so good")]


def test_a_blank_is_asked_once_too(store):
    def proposed(recorder, *blanks):
        async def work():
            return [await recorder.propose(blank) for blank in blanks]

        return asyncio.run(work())

    engine, blank = FakeEngine(), Blank("Fill in: ___", "so", 5)
    others = [
        Blank("Fill: ___", "so", 5),
        Blank("Fill in: ___", "", 5),
        Blank("Fill in: ___", "so"),
    ]
    recorder = Recorder(engine, store, GEMMA)
    first = proposed(recorder, blank, *others)
    assert len(engine.blanks) == recorder.asked == len(store) == 4
    assert proposed(Recorder(engine, store, GEMMA), blank, *others) == first
    assert len(engine.blanks) == 4


def test_proposals_are_rounded_alike_when_they_are_asked_and_when_they_are_known(store):
    class Precise(FakeEngine):
        async def propose(self, blank):
            return Proposals((("a", -1.23456789), ("b", -2.0)), 3)

    for engine in (Precise(), FakeEngine()):
        found = asyncio.run(Recorder(engine, store, GEMMA).propose(Blank("Fill in: ___", "so")))
        assert found.tokens == (("a", -1.2346), ("b", -2.0))


def test_it_is_known_on_disk_too(tmp_path, store):
    first = ask(Recorder(FakeEngine(), store, GEMMA), REQUEST, scored=["a"])
    with store_at(tmp_path / "replies.jsonl") as again:
        recorder = Recorder(FakeEngine(fail_after=0), again, GEMMA)
        assert ask(recorder, REQUEST, scored=["a"]) == first
        assert recorder.asked == 0


def test_failed_replies_are_answers_and_errors_are_not(store):
    refused = FakeEngine(lambda _request, _index: as_reply("", "refused: too long"))
    ask(Recorder(refused, store, GEMMA), REQUEST)
    assert ask(Recorder(FakeEngine(), store, GEMMA), REQUEST)[0][0][0].finish_reason != "stop"
    broken = Recorder(FakeEngine(fail_after=0), store, GEMMA)
    with pytest.raises(ConnectionError):
        ask(broken, replace(REQUEST, seed=8))
    assert len(store) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "Fill in, please: ___"},
        {"constraint": "x"},
        {"constraint": EditReply},
        {"count": 3},
        {"seed": 8},
        {"sampling": Sampling(temperature=0.8)},
        {"sampling": Sampling(top_p=0.9)},
        {"sampling": Sampling(max_tokens=99)},
    ],
)
def test_all_that_decides_the_replies_is_in_the_key(store, change):
    engine = FakeEngine()
    recorder = Recorder(engine, store, GEMMA)
    ask(recorder, REQUEST, replace(REQUEST, **change), replace(REQUEST, id="another"))
    assert recorder.asked == 2
    assert engine.requests[1] == replace(REQUEST, **change)


@pytest.mark.parametrize(
    "change",
    [{"name": "x"}, {"engine": "transformers"}, {"prompting": "chat"}, {"weights": "bb"}],
)
def test_another_generator_has_other_answers(change):
    question = Question.of(REQUEST)
    assert key_of(GEMMA, question) != key_of(GEMMA.model_copy(update=change), question)


def test_closing_it_closes_the_engine(store):
    engine = FakeEngine()
    asyncio.run(Recorder(engine, store, GEMMA).aclose())
    assert engine.closed == 1
