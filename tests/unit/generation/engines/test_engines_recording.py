import asyncio
from dataclasses import replace

import pytest
from fakes import FakeEngine, as_reply, score_of

from codlocal.generation.engines.engine import Blank, Proposals, Request, Sampling, refusal
from codlocal.generation.engines.recording import Generator, Question, Recorder, key_of, store_at
from codlocal.generation.engines.replay import Replay

GEMMA = Generator(name="gemma", engine="vllm", prompting="completion", weights="aa")
BLANK = Blank("Fill in: ___", "so", 5)
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
    first = ask(Recorder(engine, store, GEMMA, 8), REQUEST, scored=["so good"])
    silent = FakeEngine(fail_after=0)
    recorder = Recorder(silent, store, GEMMA, 8)
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
    recorder = Recorder(engine, store, GEMMA, 8)
    first = proposed(recorder, blank, *others)
    assert len(engine.blanks) == recorder.asked == len(store) == 4
    assert proposed(Recorder(engine, store, GEMMA, 8), blank, *others) == first
    assert len(engine.blanks) == 4


@pytest.mark.parametrize("at_once", [1, 3])
def test_no_more_requests_are_in_flight_than_allowed_whoever_asks(store, at_once):
    engine = FakeEngine(delay=lambda _request: 0.002)
    recorder = Recorder(engine, store, GEMMA, at_once)

    async def work():
        asked = [
            (
                recorder.generate(replace(REQUEST, prompt=one)),
                recorder.propose(Blank(one, "")),
                recorder.score(one),
            )
            for one in "abcdef"
        ]
        await asyncio.gather(*(one for three in asked for one in three))

    asyncio.run(work())
    assert engine.most_in_flight == at_once
    assert recorder.asked == 18


def test_proposals_are_rounded_alike_when_they_are_asked_and_when_they_are_known(store):
    class Precise(FakeEngine):
        async def propose(self, blank):
            return Proposals((("a", -1.23456789), ("b", -2.0)), 3)

    for engine in (Precise(), FakeEngine()):
        found = asyncio.run(Recorder(engine, store, GEMMA, 8).propose(Blank("Fill in: ___", "so")))
        assert found.tokens == (("a", -1.2346), ("b", -2.0))


def test_a_score_costs_what_it_cost_when_it_was_asked(store):
    class Costly(FakeEngine):
        async def score(self, text):
            return (await super().score(text)).model_copy(update={"generated": 1})

    asked = asyncio.run(Recorder(Costly(), store, GEMMA, 8).score("so good"))
    known = asyncio.run(Recorder(FakeEngine(), store, GEMMA, 8).score("so good"))
    again = asyncio.run(Replay(store.path, store, GEMMA, list).score("so good"))
    assert asked == known == again
    assert asked.generated == 1


def test_it_is_known_on_disk_too(tmp_path, store):
    first = ask(Recorder(FakeEngine(), store, GEMMA, 8), REQUEST, scored=["a"])
    with store_at(tmp_path / "replies.jsonl") as again:
        recorder = Recorder(FakeEngine(fail_after=0), again, GEMMA, 8)
        assert ask(recorder, REQUEST, scored=["a"]) == first
        assert recorder.asked == 0


class Short(FakeEngine):
    """An engine of a context that is too short for half of a request's replies, and for blanks."""

    def __init__(self, context=128):
        self.why = refusal(f"maximum context length is {context} tokens")
        super().__init__(lambda _request, index: as_reply("", self.why) if index else as_reply("a"))

    async def propose(self, blank):
        self.blanks.append(blank)
        return Proposals((), 0, self.why)


def ask_both(engine):
    async def work():
        return await engine.generate(REQUEST), await engine.propose(BLANK)

    return asyncio.run(work())


def test_a_failure_is_asked_again_and_an_answer_takes_its_place(tmp_path):
    path = tmp_path / "replies.jsonl"
    with store_at(path) as store:
        failed = ask_both(Recorder(Short(), store, GEMMA, 8))
        assert ask_both(Replay(path, store, GEMMA, list)) == failed
    with store_at(path) as store:
        longer = Recorder(FakeEngine(), store, GEMMA, 8)
        answered = ask_both(longer)
        assert longer.asked == 2
        assert {one.finish_reason for one in (*answered[0], answered[1])} == {"stop"}
    with store_at(path) as store:
        assert ask_both(Recorder(FakeEngine(fail_after=0), store, GEMMA, 8)) == answered
        assert ask_both(Replay(path, store, GEMMA, list)) == answered


def test_of_failures_the_first_one_holds_in_the_run_as_in_its_replay(store):
    first = ask_both(Recorder(Short(), store, GEMMA, 8))
    assert ask_both(Recorder(Short(256), store, GEMMA, 8)) == first
    assert ask_both(Replay(store.path, store, GEMMA, list)) == first
    assert len(store) == len(store.path.read_text().splitlines()) == 2


def test_a_replay_of_a_failure_can_be_replayed_itself(tmp_path, store):
    first = ask_both(Recorder(Short(), store, GEMMA, 8))
    path = tmp_path / "second" / "replies.jsonl"
    with store_at(path) as second:
        again = Recorder(Replay(store.path, store, GEMMA, list), second, GEMMA, 8)
        assert ask_both(again) == ask_both(again) == first
        assert ask_both(Replay(path, second, GEMMA, list)) == first
    assert path.read_bytes() == store.path.read_bytes()


def test_the_same_question_in_flight_is_asked_once(store):
    class Drifting(FakeEngine):
        """A server whose last digits depend on what shares a batch."""

        async def score(self, text):
            found = await super().score(text)
            return found.model_copy(update={"mean": found.mean - len(self.scored) * 1e-6})

    engine = Drifting()
    recorder = Recorder(engine, store, GEMMA, 8)

    async def work():
        scores = [recorder.score("so good") for _ in range(3)]
        replies = [recorder.generate(replace(REQUEST, id=str(at))) for at in range(3)]
        blanks = [recorder.propose(BLANK) for _ in range(3)]
        return await asyncio.gather(*scores, *replies, *blanks)

    found = asyncio.run(work())
    assert all(found[at : at + 3] == [found[at]] * 3 for at in (0, 3, 6))
    assert recorder.asked == len(store) == 3
    assert (len(engine.scored), len(engine.asked), len(engine.blanks)) == (1, 1, 1)
    assert asyncio.run(work()) == found


def test_errors_are_not_kept(store):
    broken = Recorder(FakeEngine(fail_after=0), store, GEMMA, 8)
    with pytest.raises(ConnectionError):
        ask(broken, REQUEST)
    assert len(store) == 0


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "Fill in, please: ___"},
        {"constraint": "x"},
        {"count": 3},
        {"seed": 8},
        {"sampling": Sampling(temperature=0.8)},
        {"sampling": Sampling(top_p=0.9)},
        {"sampling": Sampling(max_tokens=99)},
    ],
)
def test_all_that_decides_the_replies_is_in_the_key(store, change):
    engine = FakeEngine()
    recorder = Recorder(engine, store, GEMMA, 8)
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
    asyncio.run(Recorder(engine, store, GEMMA, 8).aclose())
    assert engine.closed == 1
