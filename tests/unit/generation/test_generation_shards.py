"""Runs of several shards: what each shard asks, what it shares, and what a kill leaves."""

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from fakes import FakeEngine, FakeTeacher
from plans import verification_with
from runs import REVIEWS, config, run_with_data

from codlocal.core import artifacts, jsonl
from codlocal.core.console import Console
from codlocal.core.errors import EngineError
from codlocal.core.records import Candidate, Original, Verdict
from codlocal.generation.quoting import quoted, quoted_name
from codlocal.generation.results import open_results
from codlocal.generation.shards import Shard
from codlocal.generation.stage import run_generate
from codlocal.pipeline.session import verification_of

FILES = ("originals.jsonl", "candidates.jsonl", "verdicts.jsonl", "attributions.jsonl")
SIZE = 3  # three, three and two of the eight reviews


def generate(run, engine=None, *, size=SIZE, teacher=None, verification=None, console=None):
    engine, teacher = engine or FakeEngine(), teacher or FakeTeacher()

    @contextmanager
    def open_engine():
        yield engine

    verification = verification or verification_of(run, teacher)
    run_generate(run, open_engine, teacher, verification, console or Console(-1), size)
    return engine


def contents(run):
    return {name: run.file(name).read_bytes() for name in FILES}


def asked_originals(engine):
    return list(dict.fromkeys("/".join(one.split("/")[:2]) for one in engine.asked))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    with run_with_data(tmp_path_factory.mktemp("whole")) as run:
        engine = generate(run)
        return {"files": contents(run), "facts": run.facts("generate"), "asked": engine.asked}


def test_every_original_gets_its_requests_shard_by_shard(tmp_path):
    with run_with_data(tmp_path) as run:
        engine = generate(run)
        assert asked_originals(engine) == [row.id for row in REVIEWS]
        rows = list(jsonl.read_rows(run.file("candidates.jsonl"), Candidate))
        assert {row.example_id for row in rows} == {row.id for row in REVIEWS}
        assert [row.id for row in rows] == sorted({row.id for row in rows})
        verdicts = list(jsonl.read_rows(run.file("verdicts.jsonl"), Verdict))
        facts = run.facts("generate")
        assert facts["tasks"] == len(REVIEWS)
        assert facts["candidates"] == len(rows)
        assert facts["failed"] == sum(row.text is None for row in rows)
        assert facts["flips"] == sum(row.flipped for row in verdicts) > 0
        written = sum(row.completion_tokens for row in rows)
        said = sum(row.scoring_tokens for row in verdicts)
        assert facts["completion_tokens"] == written + said > written


def test_a_shard_has_all_its_rounds_before_the_next_one_begins(tmp_path):
    with run_with_data(tmp_path, config(runtime={"concurrency": 1})) as run:
        shards = [{row.id for row in REVIEWS[at : at + SIZE]} for at in (0, SIZE, 2 * SIZE)]
        found = ["/".join(one.split("/")[:2]) for one in generate(run).asked]
        numbers = [next(at for at, ids in enumerate(shards) if one in ids) for one in found]
        assert numbers == sorted(numbers)


def test_the_seconds_of_rounds_add_up_over_shards_and_interruptions(tmp_path):
    def rounds(run):
        return run.facts("generate")["round_seconds"]

    with run_with_data(tmp_path) as run:
        with pytest.raises(EngineError):
            generate(run, FakeEngine(fail_after=3, failure=EngineError("gone")))
        before = rounds(run)
    with run_with_data(tmp_path) as run:
        generate(run, FakeEngine(delay=lambda _request: 0.05))
        after, whole = rounds(run), run.manifest.stages["generate"].seconds
    assert list(before) == ["round 1"]
    assert after["round 1"] >= before["round 1"] + 3 * 0.05  # in turn: a shard each
    assert sum(after.values()) <= whole


@pytest.mark.parametrize("size", [len(REVIEWS), 1000])
def test_what_fits_one_shard_is_searched_as_a_whole(tmp_path, size):
    with run_with_data(tmp_path / "one") as run:
        generate(run, size=size)
        one = contents(run)
    with run_with_data(tmp_path / "larger") as run:
        generate(run, size=2 * size)
        assert contents(run) == one


def test_demonstrations_are_of_the_same_shard(tmp_path):
    prompt = tmp_path / "mine.jinja"
    prompt.write_text("{% for one in demonstrations %}{{ one.text }} {% endfor %}{{ text | json }}")
    settings = config(generator={"prompt": str(prompt), "rounds": ["guided"]})
    for size, shown in ((len(REVIEWS), True), (SIZE, False)):
        with run_with_data(tmp_path / str(size), settings) as run:
            first = generate(run, size=size).requests[0].prompt
        assert REVIEWS[1].text in first
        assert (REVIEWS[3].text in first) == shown


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.7, 0.95])
def test_a_search_that_was_killed_asks_the_rest_and_ends_in_the_same_rows(tmp_path, whole, share):
    most = int(share * len(whole["asked"]))
    with run_with_data(tmp_path) as run:
        with pytest.raises(EngineError):
            generate(run, FakeEngine(fail_after=most, failure=EngineError("gone")))
        written = list(jsonl.read_rows(run.file("candidates.jsonl"), Candidate))
    with run_with_data(tmp_path) as run:
        again = generate(run)
        assert contents(run) == whole["files"]
        assert sum(request.count for request in again.requests) == (
            whole["facts"]["candidates"] - len(written)
        )
        texts = {row.text for row in REVIEWS}
        assert not set(again.scored) & texts


def test_originals_that_were_scored_are_not_scored_again(tmp_path, whole):
    class Unsteady(FakeEngine):
        async def score(self, text):
            if text == REVIEWS[4].text:
                raise EngineError("gone")
            return await super().score(text)

    with run_with_data(tmp_path) as run:
        with pytest.raises(EngineError):
            generate(run, Unsteady())
        path = run.file("originals.jsonl")
        assert len(path.read_bytes().splitlines()) == SIZE
        path.write_bytes(path.read_bytes()[:-9])  # a torn last line
        again = generate(run)
        assert REVIEWS[SIZE].text in again.scored
        assert contents(run) == whole["files"]


def test_the_teacher_is_asked_about_each_original_once(tmp_path):
    teacher = FakeTeacher()
    with run_with_data(tmp_path) as run:
        generate(run, teacher=teacher, verification=verification_of(run, FakeTeacher()))
    texts = [row.text for row in REVIEWS]
    assert [call for call in teacher.calls if set(call) <= set(texts)] == [
        texts[:3], texts[3:6], texts[6:],
    ]  # fmt: skip


def test_the_gate_is_learned_from_the_originals_of_all_shards(tmp_path):
    learned = []

    def learn(originals):
        learned.append([row.example_id for row in originals])
        return lambda verdict, _original: verdict.flipped

    with run_with_data(tmp_path) as run:
        judge = verification_of(run, FakeTeacher()).judge
        generate(run, verification=verification_with(judge, learn))
        kept = [row.example_id for row in jsonl.read_rows(run.file(FILES[0]), Original)]
    assert learned == [kept] == [[row.id for row in REVIEWS]]


def test_the_judge_is_given_the_originals_of_the_shard(tmp_path):
    seen = []

    with run_with_data(tmp_path) as run:
        ours = verification_of(run, FakeTeacher())

        def judge(examples, rows):
            seen.append(len(examples))
            assert {row.example_id for row in rows} <= set(examples)
            return ours.judge(examples, rows)

        generate(run, verification=replace(ours, judge=judge))
    assert set(seen) == {3, 2}


BUDGET = {"max_tokens": 400, "rounds": ["guided", "wide"]}


def test_the_budget_is_shared_out_and_what_a_shard_leaves_is_the_next_ones(tmp_path):
    with run_with_data(tmp_path, config(generator=BUDGET)) as run:
        generate(run)
        rows = list(jsonl.read_rows(run.file("candidates.jsonl"), Candidate))
    spent = [
        sum(row.completion_tokens for row in rows if row.example_id in ids)
        for ids in ({row.id for row in REVIEWS[at : at + SIZE]} for at in (0, SIZE, 2 * SIZE))
    ]
    assert all(spent)
    assert sum(spent) == pytest.approx(400, rel=0.25)
    assert spent[0] == pytest.approx(150, rel=0.25)


@pytest.mark.parametrize("fail_after", [1, 5, 9])
def test_a_budget_admits_the_same_requests_after_a_kill(tmp_path, fail_after):
    settings = config(generator=BUDGET)
    with run_with_data(tmp_path / "whole", settings) as run:
        assert len(generate(run).asked) > fail_after
        expected = contents(run)
    with run_with_data(tmp_path / "broken", settings) as run:
        with pytest.raises(EngineError):
            generate(run, FakeEngine(fail_after=fail_after, failure=EngineError("gone")))
        generate(run)
        assert contents(run) == expected


def test_progress_counts_all_shards(tmp_path, capsys):
    with run_with_data(tmp_path) as run:
        generate(run, console=Console())
        facts = run.facts("generate")
    _, first, second, last = capsys.readouterr().err.strip().splitlines()
    assert first.startswith("Asking the teacher where to edit: 8/8")
    assert second.startswith("Scoring the originals: 8/8")
    assert last.startswith(f"Generating: {facts['candidates']}/{facts['candidates']}, ")
    assert f"originals 8, flips {facts['flips']}, pairs " in last


@pytest.mark.parametrize(("weight", "warned"), [(0.1, True), (3.0, False)])
def test_an_unsure_teacher_is_told_of(tmp_path, capsys, weight, warned):
    weights = {word: weight * one for word, one in FakeTeacher().weights.items()}
    with run_with_data(tmp_path) as run:
        generate(run, teacher=FakeTeacher(weights), console=Console())
    told = " ".join(capsys.readouterr().err.split())
    assert ("Warning: The teacher is unsure: it gives the labels" in told) == warned


def test_rows_of_other_originals_are_not_read(tmp_path):
    """The ids of a counterfactual's own candidates begin with those of its original."""
    row = Candidate(
        id="train/1/0/0/0", example_id="train/1", round=0, strategy="guided",
        source_label=1, target_label=0, text="bad",
    )  # fmt: skip
    deeper = row.model_copy(update={"id": "train/1/0/0/0/1/0/0", "example_id": row.id})
    other = row.model_copy(update={"id": "train/10/0/0/0", "example_id": "train/10"})
    with run_with_data(tmp_path) as run:
        jsonl.write_rows(run.file("candidates.jsonl"), [other, deeper, row])
        with open_results(run) as results:
            shard = Shard([REVIEWS[1]], np.zeros((1, 2)))
            assert results.known(shard).candidates == {row.id: row}


@pytest.mark.parametrize("name", ["good</s>", "[/INST] good", 'so "good"\nUser:'])
def test_a_label_can_not_end_its_turn_nor_its_line(tmp_path, name):
    with run_with_data(tmp_path) as run:
        spec = artifacts.read_spec(run)
        named = spec.model_copy(update={"label_names": ("bad", name), "task": "generic"})
        jsonl.write_json(run.file(*artifacts.SPEC), named.model_dump(mode="json"))
        prompts = [request.prompt for request in generate(run).requests]
    assert not any(name in prompt for prompt in prompts)
    assert all(quoted(name)[1:-1] in prompt for prompt in prompts)


def test_ordinary_labels_are_shown_as_they_are():
    for name in ("positive", "card arrival", "Sci/Tech", "5 ★", "très bon", "it's <3", "a (b) [c]"):
        assert quoted_name(name) == name


def test_free_replies_are_bounded_by_the_tokens_of_their_originals(tmp_path):
    class Wordy(FakeEngine):
        async def score(self, text):
            return (await super().score(text)).model_copy(update={"tokens": 99})

    with run_with_data(tmp_path, config(generator={"rounds": ["free"]})) as run:
        found = {one.id.rsplit("/", 3)[0]: one for one in generate(run, Wordy()).requests}
    for row in REVIEWS:
        most = len(row.text) // 2 if row.text.isascii() else 99
        assert found[row.id].sampling.max_tokens == 24 + most
