import asyncio
import dataclasses
import random
import threading
import time

import pytest
from fakes import FakeEngine, obedient, score_of
from search_rig import TEXTS, Rig

from codlocal.core.errors import EngineError
from codlocal.generation import search
from codlocal.generation.known import Known
from codlocal.generation.search import Limits, score_all


def test_every_reply_becomes_a_row_and_every_text_gets_a_verdict():
    rig = Rig().run(["guided"])
    assert len(rig.candidates) == 6 * len(TEXTS) == sum(rig.announced)
    judged = {verdict.candidate_id for verdict in rig.verdicts}
    assert judged == {row.id for row in rig.candidates if row.text is not None}
    assert len(rig.verdicts) == len(judged)
    for verdict in rig.verdicts:
        if not verdict.flipped:
            assert (verdict.fluency, verdict.strain) == (None, None)
            continue
        score = score_of(rig.known.candidates[verdict.candidate_id].text)
        before = score_of(rig.examples[verdict.example_id].text)
        assert (verdict.fluency.total, verdict.fluency.worst) == (score.total, score.worst)
        assert verdict.strain == before.strain(score)


def test_later_rounds_ask_only_for_originals_without_a_good_flip():
    rig = Rig(good=lambda _row, verdict: verdict.example_id in {"1", "3"}).run()
    by_round = [{row.example_id for row in rig.candidates if row.round == at} for at in range(3)]
    assert by_round == [{"0", "1", "2", "3"}, {"0", "2"}, {"0", "2"}]
    assert {row.strategy for row in rig.candidates if row.round == 2} == {"free"}


def test_every_round_says_how_long_it_ran():
    engine = FakeEngine(delay=lambda _request: 0.01, fail_after=18)
    rig = Rig(engine, good=lambda _row, verdict: verdict.example_id in {"1", "3"})
    with pytest.raises(ConnectionError):
        rig.run()
    (first, seconds), (second, _) = rig.times
    assert (first, second) == (0, 1)
    assert seconds >= 0.01


def test_a_round_says_how_long_it_runs_while_it_does(monkeypatch):
    monkeypatch.setattr("codlocal.generation.search._TOLD_EVERY", 0.01)
    rig = Rig(FakeEngine(delay=lambda _request: 0.1))
    began = time.monotonic()
    rig.run(["guided"])
    took = time.monotonic() - began
    assert len(rig.times) > 3  # were it killed, all but the last would be known
    assert 0.1 <= sum(seconds for _, seconds in rig.times) <= took


def test_it_ends_early_when_every_original_has_its_flip():
    rig = Rig(good=lambda _row, _verdict: True).run()
    assert {row.round for row in rig.candidates} == {0}


def test_requests_alone_use_the_whole_concurrency():
    engine = FakeEngine(delay=lambda _request: 0.005)
    Rig(engine, concurrency=3, judge_with=lambda _rows: []).run(["guided"])
    assert engine.most_in_flight == 3


def test_scores_come_in_order_and_within_the_bound():
    engine = FakeEngine()
    texts = [f"word {at}" for at in range(20)] + ["good"]
    scores = asyncio.run(score_all(engine, texts, 4))
    assert scores == [score_of(text) for text in texts]
    assert engine.most_in_flight == 4
    assert asyncio.run(score_all(engine, [], 4)) == []


@pytest.mark.parametrize("seed", range(2))
def test_the_order_of_the_replies_changes_nothing(seed):
    chooser = random.Random(seed)
    shuffled = Rig(FakeEngine(delay=lambda _request: chooser.random() * 0.004)).run()
    plain = Rig(concurrency=1).run()
    assert shuffled.rows() == plain.rows()
    assert shuffled.known.verdicts == plain.known.verdicts


@pytest.mark.parametrize("fail_after", [0, 1, 3, 6, 9, 13, 20])
def test_a_search_that_died_goes_on_and_asks_nothing_twice(fail_after):
    undisturbed = Rig(concurrency=2).run()
    engine = FakeEngine(fail_after=fail_after, failure=EngineError("gone"))
    broken = Rig(engine, concurrency=2)
    survived = False
    try:
        broken.run()
        survived = True
    except EngineError as error:
        assert error.message == "gone"
    resumed = Rig(
        known=Known(
            {row.id: row for row in broken.candidates},
            {row.candidate_id: row for row in broken.verdicts},
        ),
        concurrency=2,
    ).run()
    assert resumed.rows() == undisturbed.rows()
    assert resumed.known.verdicts == undisturbed.known.verdicts
    repeated = {row.id for row in resumed.candidates} & {row.id for row in broken.candidates}
    assert not repeated
    if survived:
        assert not resumed.engine.asked
    else:
        assert set(resumed.engine.asked) <= set(undisturbed.engine.asked)


def test_a_flip_of_a_later_round_does_not_hide_what_its_round_still_has_to_ask():
    undisturbed = Rig(concurrency=1).run()
    second = [row for row in undisturbed.candidates if row.round == 1]
    assert second, "the fake must leave something for round two"
    flips = {verdict.candidate_id for verdict in undisturbed.verdicts if verdict.flipped}
    early = next(row for row in second if row.id in flips)
    first_round = {row.id: row for row in undisturbed.candidates if row.round == 0}
    # It died in round two: of one request the rows were written and judged, the rest never came.
    requests = [row for row in second if row.example_id == early.example_id]
    kept = {**first_round, **{row.id: row for row in requests[:4]}, early.id: early}
    verdicts = {key: verdict for key, verdict in undisturbed.known.verdicts.items() if key in kept}
    resumed = Rig(known=Known(dict(kept), verdicts), concurrency=1).run()
    assert resumed.rows() == undisturbed.rows()


def test_rows_without_a_verdict_are_judged_on_resuming():
    undisturbed = Rig().run(["guided"])
    candidates = dict(undisturbed.known.candidates)
    resumed = Rig(known=Known(candidates, {})).run(["guided"])
    assert not resumed.engine.asked
    assert resumed.known.verdicts == undisturbed.known.verdicts


def test_an_error_keeps_what_came_and_cancels_the_rest():
    def delay(request):
        return 0.0 if request.id.endswith("/0/0") and request.id[0] == "0" else 5.0

    engine = FakeEngine(delay=delay, fail_after=4, failure=EngineError("gone"))
    rig = Rig(engine, concurrency=4)
    with pytest.raises(EngineError, match="gone"):
        rig.run()
    assert rig.candidates
    assert {row.example_id for row in rig.candidates} == {"0"}
    assert engine.cancelled == 3
    assert engine.in_flight == 0


def test_an_error_of_the_judge_surfaces_and_stops_the_requests():
    def broken(_rows):
        raise RuntimeError("the teacher fell over")

    engine = FakeEngine(delay=lambda _request: 0.01)
    rig = Rig(engine, judge_with=broken, concurrency=1)
    with pytest.raises(RuntimeError, match="fell over"):
        rig.run()
    assert len(engine.asked) < 10
    assert engine.in_flight == 0


def test_the_judge_works_in_a_thread_of_its_own_and_in_batches():
    sizes, threads = [], set()

    def judging(rows):
        sizes.append(len(rows))
        threads.add(threading.current_thread())
        return []

    Rig(concurrency=50, judge_with=judging).run(["guided"])
    assert threading.main_thread() not in threads
    assert max(sizes) > 1
    assert max(sizes) < 64 + 6


def test_replies_without_a_text_are_kept_but_not_judged():
    def half(request, index):
        return obedient(request, index) if index % 2 else "no JSON"

    rig = Rig(FakeEngine(half)).run(["guided"])
    failed = {row.id for row in rig.candidates if row.text is None}
    assert failed
    assert not failed & {verdict.candidate_id for verdict in rig.verdicts}


def test_later_prompts_show_what_was_tried_and_what_flipped():
    rig = Rig(good=lambda _row, verdict: verdict.example_id == "0" and verdict.flipped)
    rig.search = dataclasses.replace(
        rig.search, planner=dataclasses.replace(rig.search.planner, fill=False)
    )
    rig.run(["guided", "guided"])
    solved = {verdict.example_id for verdict in rig.verdicts if verdict.flipped}
    assert "0" in solved, "the fake must solve one original"
    prompts_of = {0: [], 1: []}
    for request in rig.engine.requests:
        prompts_of[int(request.id.split("/")[2])].append(request.prompt)
    assert not any("Tried before" in prompt for prompt in prompts_of[0])
    assert all("Tried before" in prompt for prompt in prompts_of[1])
    assert any(TEXTS[0] in prompt for prompt in prompts_of[1])


def test_a_token_budget_bounds_the_rounds_and_a_resumed_search_keeps_to_it():
    limits = Limits(2, max_tokens=150)
    free = Rig().run()
    undisturbed = Rig(limits=limits).run()
    assert 0 < len(undisturbed.candidates) < len(free.candidates)
    broken = Rig(FakeEngine(fail_after=2, failure=EngineError("gone")), limits=limits)
    with pytest.raises(EngineError):
        broken.run()
    known = Known(dict(broken.known.candidates), dict(broken.known.verdicts))
    assert Rig(known=known, limits=limits).run().rows() == undisturbed.rows()


def test_requests_are_in_flight_while_the_teacher_still_seeks_edits_for_the_next_ones():
    arrived = threading.Event()
    rig = Rig(FakeEngine(delay=lambda _request: arrived.set() or 0.0), concurrency=4)

    def edits(task):
        # Found for the first text; for the others not before the first request has arrived.
        assert task is rig.tasks[0] or arrived.wait(20)
        return []

    planner = dataclasses.replace(rig.search.planner, edits=edits)
    rig.search = dataclasses.replace(rig.search, planner=planner)
    rig.run(["lexical"])
    assert {row.example_id for row in rig.candidates} == {"0", "1", "2", "3"}


@pytest.mark.parametrize("concurrency", [1, 3])
def test_planning_runs_ahead_of_the_requests_within_a_bound(monkeypatch, concurrency):
    monkeypatch.setattr(search, "_PLANNED_AHEAD", 2)
    ahead = []

    def delay(_request):
        ahead.append(len(rig.announced) - len(rig.engine.asked))
        return 0.01

    rig = Rig(FakeEngine(delay=delay), concurrency=concurrency)
    rig.run()
    assert 0 < max(ahead) <= 3  # one of them is about to wait
    undisturbed = Rig().run()
    assert rig.rows() == undisturbed.rows()
    assert rig.known.verdicts == undisturbed.known.verdicts


def test_an_error_ends_a_planning_that_waits(monkeypatch):
    monkeypatch.setattr(search, "_PLANNED_AHEAD", 1)
    rig = Rig(FakeEngine(fail_after=1, failure=EngineError("gone")), concurrency=1)
    with pytest.raises(EngineError, match="gone"):
        rig.run()


def test_the_teacher_is_asked_for_one_thing_at_a_time():
    at_work, seen = threading.Lock(), []

    def alone(what, answer):
        assert at_work.acquire(blocking=False), "two threads ask the teacher"
        time.sleep(0.002)
        seen.append(what)
        at_work.release()
        return answer

    rig = Rig(judge_with=lambda _rows: alone("verdicts", []), concurrency=4)
    planner = dataclasses.replace(rig.search.planner, edits=lambda _task: alone("edits", []))
    rig.search = dataclasses.replace(rig.search, planner=planner)
    rig.run(["lexical"])
    assert seen.count("edits") == len(TEXTS)
    assert "verdicts" in seen
