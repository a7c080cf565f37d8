import os
import signal
from collections import Counter
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import pytest
from fakes import FakeEngine, FakeTeacher, obedient
from plans import verification_with
from runs import REVIEWS, config, run_with_data

from codlocal.core import jsonl
from codlocal.core.console import Console
from codlocal.core.errors import ConfigError, EngineError, RunError
from codlocal.core.records import Candidate, CounterfactualPair, Original, Rejection, Verdict
from codlocal.generation.shards import SHARD
from codlocal.generation.stage import run_generate
from codlocal.verification.judge import judge
from codlocal.verification.selection import learn_gate, refusal
from codlocal.verification.stage import run_verify

QUIET = Console(-1)
EXAMPLES = {row.id: row for row in REVIEWS}
FILES = {
    "originals.jsonl": Original,
    "candidates.jsonl": Candidate,
    "verdicts.jsonl": Verdict,
    "pairs.jsonl": CounterfactualPair,
    "rejections.jsonl": Rejection,
}


class InterruptedEngine(FakeEngine):
    """Gets a Ctrl-C after `fail_after` requests."""

    async def generate(self, request):
        if len(self.asked) == self.fail_after:
            self.fail_after = None
            signal.raise_signal(signal.SIGINT)
        return await super().generate(request)


def generate(run, engine=None, *, teacher=None, judging=None, shard_size=SHARD):
    engine = engine or FakeEngine()
    teacher = teacher or FakeTeacher()

    def learn(originals):
        gate = learn_gate(originals, run.config.verification)
        return lambda verdict, original: refusal(verdict, original, gate) is None

    @contextmanager
    def open_engine():
        yield engine

    judging = judging or (lambda examples, rows: judge(teacher, examples, rows))
    run_generate(run, open_engine, teacher, verification_with(judging, learn), QUIET, shard_size)
    return engine


def verify(run):
    run_verify(run, QUIET)


def rows(run, name):
    return list(jsonl.read_rows(run.file(name), FILES[name]))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    with run_with_data(tmp_path_factory.mktemp("undisturbed")) as run:
        engine = generate(run)
        verify(run)
        found = {name: rows(run, name) for name in FILES}
        return found | {"facts": run.facts("generate"), "requests": len(engine.asked)}


def by_id(candidates):
    return {row.id: row for row in candidates}


def test_candidates_and_verdicts_are_written_and_counted(undisturbed):
    candidates, verdicts = undisturbed["candidates.jsonl"], undisturbed["verdicts.jsonl"]
    facts = undisturbed["facts"]
    assert facts["candidates"] == len(candidates) == len(by_id(candidates))
    assert facts["failed"] == sum(row.text is None for row in candidates)
    assert facts["flips"] == sum(row.flipped for row in verdicts) > 0
    written = sum(row.completion_tokens for row in candidates)
    said = sum(row.scoring_tokens for row in verdicts)
    assert facts["completion_tokens"] == written + said
    assert facts["prompt"] == "sentiment.jinja"
    assert {row.candidate_id for row in verdicts} == {
        row.id for row in candidates if row.text is not None
    }
    assert [row.example_id for row in undisturbed["originals.jsonl"]] == list(EXAMPLES)


def test_every_candidate_is_a_pair_or_a_rejection(undisturbed):
    pairs, rejections = undisturbed["pairs.jsonl"], undisturbed["rejections.jsonl"]
    refused = [row.candidate_id for row in rejections if row.candidate_id]
    taken = [row.candidate_id for row in pairs]
    assert sorted(refused + taken) == sorted(by_id(undisturbed["candidates.jsonl"]))
    without = {row.example_id for row in rejections if row.candidate_id is None}
    assert without | {row.example_id for row in pairs} == set(EXAMPLES)
    assert not without & {row.example_id for row in pairs}


def test_the_engine_is_closed_and_a_finished_stage_asks_nothing(tmp_path):
    with run_with_data(tmp_path) as run:
        engine = generate(run)
        assert engine.closed == 1
        again = generate(run)
        assert not again.requests
        assert not again.closed


@pytest.mark.parametrize("share", [0, 0.1, 0.4, 0.7, 0.9])
def test_killed_in_the_middle_and_run_again_it_ends_in_the_same_pairs(tmp_path, undisturbed, share):
    broken = InterruptedEngine(fail_after=int(share * undisturbed["requests"]))
    with run_with_data(tmp_path) as run:
        with pytest.raises(KeyboardInterrupt):
            generate(run, broken)
        assert broken.closed == 1
        assert not run.is_done("generate")
        written = rows(run, "candidates.jsonl")
    with run_with_data(tmp_path) as run:
        engine = generate(run)
        verify(run)
        kept = rows(run, "candidates.jsonl")
        assert by_id(written).items() <= by_id(kept).items()
        assert kept == undisturbed["candidates.jsonl"]
        assert rows(run, "verdicts.jsonl") == undisturbed["verdicts.jsonl"]
        assert rows(run, "pairs.jsonl") == undisturbed["pairs.jsonl"]
        assert rows(run, "rejections.jsonl") == undisturbed["rejections.jsonl"]
        asked = sum(request.count for request in engine.requests if request.id[0] != "c")
        assert asked == len(kept) - len(written)


@pytest.mark.parametrize("torn", ["candidates.jsonl", "verdicts.jsonl"])
def test_a_torn_last_line_is_asked_for_again(tmp_path, undisturbed, torn):
    most = int(0.8 * undisturbed["requests"])
    slow = FakeEngine(delay=lambda _: 0.01, fail_after=most, failure=EngineError("gone"))
    with run_with_data(tmp_path) as run:
        with pytest.raises(EngineError):
            generate(run, slow)
        path = run.file(torn)
        os.truncate(path, path.stat().st_size - 20)
        generate(run)
        verify(run)
        assert by_id(rows(run, "candidates.jsonl")) == by_id(undisturbed["candidates.jsonl"])
        assert rows(run, "pairs.jsonl") == undisturbed["pairs.jsonl"]


def test_a_prompt_changed_in_the_middle_is_refused(tmp_path):
    with run_with_data(tmp_path) as run:
        with pytest.raises(EngineError):
            generate(run, FakeEngine(fail_after=4, failure=EngineError("gone")))
        kept = run.file("prompt.jinja")
        kept.write_text(kept.read_text() + "Be brief.")
        engine = FakeEngine()
        with pytest.raises(RunError, match="no longer the one"):
            generate(run, engine)
        assert not engine.requests


def test_a_prompt_that_was_moved_is_still_in_the_run(tmp_path):
    prompt = tmp_path / "mine.jinja"
    prompt.write_text("{{ text | json }} {{ target_label }}")
    with run_with_data(tmp_path / "run", config(generator={"prompt": str(prompt)})) as run:
        with pytest.raises(EngineError):
            generate(run, FakeEngine(fail_after=4, failure=EngineError("gone")))
        prompt.unlink()
        with pytest.raises(ConfigError, match="There is no prompt") as caught:
            generate(run)
        kept = run.file("prompt.jinja")
        assert f"put its copy there: {kept}" in caught.value.hint
        prompt.write_bytes(kept.read_bytes())
        generate(run)
        assert run.is_done("generate")


def test_the_originals_are_scored_once(tmp_path):
    with run_with_data(tmp_path) as run:
        first = FakeEngine(fail_after=2, failure=EngineError("gone"))
        with pytest.raises(EngineError):
            generate(run, first)
        assert set(first.scored) >= {row.text for row in REVIEWS}
        second = generate(run)
        assert not set(second.scored) & {row.text for row in REVIEWS}
        for row in rows(run, "originals.jsonl"):
            assert sum(row.probabilities) == pytest.approx(1)
            assert row.label == EXAMPLES[row.example_id].label


def test_a_mistake_in_the_prompt_is_found_before_the_engine_starts(tmp_path):
    prompt = tmp_path / "mine.jinja"
    prompt.write_text("{{ text | json }} {% for one in flips %}{{ one.nothing }}{% endfor %}")
    settings = config(generator={"prompt": str(prompt)})
    with run_with_data(tmp_path / "run", settings) as run:
        engine = FakeEngine()
        with pytest.raises(ConfigError, match="nothing"):
            generate(run, engine)
        assert not engine.requests
        assert not engine.scored


def test_an_error_of_the_judge_leaves_the_stage_to_be_continued(tmp_path, undisturbed):
    def broken(_examples, _rows):
        raise RuntimeError("out of memory")

    with run_with_data(tmp_path) as run:
        with pytest.raises(RuntimeError, match="out of memory"):
            generate(run, judging=broken)
        generate(run)
        verify(run)
        assert rows(run, "pairs.jsonl") == undisturbed["pairs.jsonl"]


def test_failed_replies_are_rows_too(tmp_path):
    def moody(request, index):
        return obedient(request, index) if index % 2 or request.id[0] == "c" else "no"

    with run_with_data(tmp_path) as run:
        generate(run, FakeEngine(moody))
        verify(run)
        facts = run.facts("generate")
        assert 0 < facts["failed"] < facts["candidates"]
        reasons = run.facts("verify")["reasons"]
        assert sum(count for why, count in reasons.items() if "JSON" in why) == facts["failed"]


def test_progress_shows_the_funnel(tmp_path, capsys):
    with run_with_data(tmp_path) as run:
        engine, teacher = FakeEngine(), FakeTeacher()

        @contextmanager
        def open_engine():
            yield engine

        verification = verification_with(
            lambda examples, some: judge(teacher, examples, some),
            lambda _originals: lambda verdict, _original: verdict.flipped,
        )
        run_generate(run, open_engine, teacher, verification, Console())
        last = capsys.readouterr().err.strip().splitlines()[-1]
        facts = run.facts("generate")
        assert last.startswith(f"Generating: {facts['candidates']}/{facts['candidates']}, ")
        assert f"originals 8, flips {facts['flips']}, pairs " in last


def test_good_flips_are_counted_as_pairs_even_if_they_end_no_search(tmp_path, capsys):
    with run_with_data(tmp_path) as run:
        engine, teacher = FakeEngine(), FakeTeacher()
        plain = verification_with(lambda examples, some: judge(teacher, examples, some), None)
        tests = (lambda verdict, _original: verdict.flipped, lambda *_: False)
        verification = replace(plain, learn=lambda _originals: tests)
        run_generate(run, lambda: nullcontext(engine), teacher, verification, Console())
        rows = jsonl.read_rows(run.file("verdicts.jsonl"), Verdict)
        found = {row.example_id for row in rows if row.flipped}
        assert found
        assert capsys.readouterr().err.strip().endswith(f", pairs {len(found)}")


LEXICAL = {"rounds": ["lexical", "lexical", "wide"], "targets": "confusion", "max_rounds": 2}


@pytest.mark.parametrize("fail_after", [0, 5, 12])
def test_lexical_rounds_end_in_the_same_pairs_after_an_interruption(tmp_path, fail_after):
    settings = config(generator=LEXICAL)
    with run_with_data(tmp_path / "whole", settings) as run:
        generate(run)
        verify(run)
        candidates, pairs = rows(run, "candidates.jsonl"), rows(run, "pairs.jsonl")
        assert pairs
        assert {row.strategy for row in candidates} == {"lexical"}
        assert max(row.round for row in candidates) <= 1
        assert run.facts("generate")["rounds"] == ["lexical", "lexical"]
    with run_with_data(tmp_path / "broken", settings) as run:
        with pytest.raises(EngineError):
            generate(run, FakeEngine(fail_after=fail_after, failure=EngineError("gone")))
        again = FakeTeacher()
        generate(run, teacher=again)
        verify(run)
        assert by_id(rows(run, "candidates.jsonl")) == by_id(candidates)
        assert rows(run, "pairs.jsonl") == pairs
        # Occlusions and replacements were kept: what is asked again are originals and confusions.
        asked = {text for call in again.calls for text in call}
        assert asked <= {row.text for row in REVIEWS} | {row.text for row in candidates}


def test_all_targets_make_a_task_each(tmp_path):
    with run_with_data(tmp_path, config(generator={"targets": "all", "max_rounds": 1})) as run:
        generate(run)
        assert run.facts("generate")["tasks"] == len(REVIEWS)  # two labels: one other


def test_attributions_by_gradient_need_a_teacher_that_has_gradients(tmp_path):
    with run_with_data(tmp_path, config(generator={"attribution": "gradient"})) as run:
        engine = FakeEngine()
        with pytest.raises(ConfigError, match="no gradients"):
            generate(run, engine)
        assert not engine.requests


def test_the_replies_of_an_original_are_bounded(tmp_path):
    settings = config(generator={"max_candidates": 7, "candidates": 6})
    with run_with_data(tmp_path, settings) as run:
        generate(run)
        counts = Counter(row.example_id for row in rows(run, "candidates.jsonl"))
        assert max(counts.values()) == 7


def test_what_a_failed_attempt_noted_gives_way_to_what_the_next_one_does(tmp_path):
    @contextmanager
    def no_engine():
        raise EngineError("The server ended.", "")
        yield

    unused = verification_with(lambda *_: pytest.fail(), lambda *_: pytest.fail())
    big = config(generator={"model": "big"})
    with run_with_data(tmp_path, big) as run, pytest.raises(EngineError):
        run_generate(run, no_engine, FakeTeacher(), unused, QUIET)
    small = config(generator={"model": "small", "engine": "transformers"})
    with run_with_data(tmp_path, small) as run:
        generate(run)
        facts = run.manifest.stages["generate"].facts
    assert (facts["model"], facts["engine"]) == ("small", "transformers")
