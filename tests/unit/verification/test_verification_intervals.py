"""Intervals of a run's measures, by drawing originals anew."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from verified import verdict_with

from codlocal.core.records import Candidate, Fluency, Original
from codlocal.core.statistics import wilson
from codlocal.verification.choice import Evidence
from codlocal.verification.intervals import intervals
from codlocal.verification.measures import measure

DRAWN = ("flip_rate", "edit_distance", "boundary_distance", "perplexity_ratio", "tokens_per_pair")


def evidence(originals=40, replies=4, *, scored=True, seed=0):
    """Originals of which some flip always and others never, as hard and easy texts do."""
    chance = np.random.default_rng(seed)
    candidates, verdicts = {}, {}
    for at in range(originals):
        flips = bool(chance.random() < 0.5)
        for number in range(replies):
            name, p = f"{at}/{number}", float(chance.uniform(0.5, 1.0))
            candidates[name] = Candidate(
                id=name,
                example_id=str(at),
                round=0,
                strategy="guided",
                source_label=1,
                target_label=0,
                text="so bad",
                completion_tokens=int(chance.integers(5, 30)),
            )
            verdicts[name] = verdict_with(
                candidate_id=name, example_id=str(at), probabilities=(p, 1 - p), label=0,
                flipped=flips, edits=1, edit_distance=float(chance.uniform(0, 0.5)),
                fluency=score(float(chance.normal(-4, 0.5))) if scored else None,
            )  # fmt: skip
    texts = {
        str(at): Original(
            example_id=str(at),
            probabilities=(0, 1),
            label=1,
            fluency=score(-4.0) if scored else None,
        )
        for at in range(originals)
    }
    return Evidence({}, texts, candidates, verdicts)


def score(mean):
    return Fluency(mean=mean, worst=-9.0, tokens=3, generated=1)


def pairs_of(known, most=1):
    return {name for name, row in known.verdicts.items() if row.flipped and int(name[-1]) < most}


@pytest.fixture(scope="module")
def known():
    return evidence()


@pytest.mark.parametrize("most", [1, 3])
def test_each_interval_is_around_its_measure(known, most):
    chosen = pairs_of(known, most)
    found = intervals(known, chosen)
    total = measure("all", list(known.candidates.values()), known, chosen, chosen)
    told = total.model_dump() | total.chosen.model_dump()
    for name in DRAWN:
        low, high = found[name]
        assert low < told[name] < high, name
    assert found["paired_rate"] == pytest.approx(total.solved_interval)


def test_candidates_of_one_original_are_no_independent_ones(known):
    low, high = intervals(known, set())["flip_rate"]
    alone = stats.binomtest(sum(one.flipped for one in known.verdicts.values()), 160)
    naive = alone.proportion_ci(method="wilson")
    assert high - low > 1.7 * (naive.high - naive.low)  # 2, where all four do the same


@pytest.mark.parametrize("flipped", [True, False])
def test_where_all_flip_or_none_an_original_counts_as_one(known, flipped):
    alike = {
        name: one.model_copy(update={"flipped": flipped}) for name, one in known.verdicts.items()
    }
    found = intervals(replace(known, verdicts=alike), set())["flip_rate"]
    assert found == pytest.approx(wilson(40 * flipped, 40))


def test_the_same_rows_have_the_same_intervals(known):
    assert intervals(known, pairs_of(known)) == intervals(known, pairs_of(known))


def test_more_originals_make_them_narrower(known):
    more = evidence(400)
    wide, narrow = intervals(known, pairs_of(known)), intervals(more, pairs_of(more))
    for name in DRAWN:
        assert narrow[name][1] - narrow[name][0] < 0.6 * (wide[name][1] - wide[name][0])


def test_what_no_draw_can_tell_has_none(known):
    found = intervals(known, pairs_of(known))
    assert found["diversity"] is found["seconds_per_pair"] is None
    assert intervals(evidence(scored=False), pairs_of(known))["perplexity_ratio"] is None
    without = intervals(known, set())
    assert without["edit_distance"] is without["tokens_per_pair"] is None
    assert without["paired_rate"][0] == pytest.approx(0, abs=1e-9)
    assert set(intervals(Evidence({}, {}, {}, {}), set()).values()) == {None}
    one = evidence(1)
    found = {name for name, it in intervals(one, set(one.candidates)).items() if it}
    assert found == {"flip_rate", "paired_rate"}  # Wilson's


def with_failures(known, *, tokens):
    """The same with a failed reply for each."""
    failed = {
        f"{name}x": row.model_copy(
            update={"id": f"{name}x", "text": None, "failure": "empty", "completion_tokens": tokens}
        )
        for name, row in known.candidates.items()
    }
    return replace(known, candidates={**known.candidates, **failed})


def test_failed_replies_are_candidates_that_do_not_flip(known):
    chosen = pairs_of(known)
    before, found = (intervals(one, chosen) for one in (known, with_failures(known, tokens=0)))
    assert found["flip_rate"] == pytest.approx([bound / 2 for bound in before["flip_rate"]])
    assert {**found, "flip_rate": None} == {**before, "flip_rate": None}


def test_failed_replies_have_cost_their_tokens(known):
    chosen = pairs_of(known)
    known = with_failures(known, tokens=1000)
    total = measure("all", list(known.candidates.values()), known, chosen, chosen)
    low, high = intervals(known, chosen)["tokens_per_pair"]
    assert 1000 < low < total.tokens_per_pair < high


def test_where_all_replies_fail_none_flips(known):
    none = {name: one.model_copy(update={"text": None}) for name, one in known.candidates.items()}
    found = intervals(replace(known, candidates=none, verdicts={}), set())
    assert found["flip_rate"] == pytest.approx(wilson(0, 40))
    assert found["paired_rate"] == pytest.approx(wilson(0, 40))


def unasked(known, count):
    more = {
        f"unasked {at}": one.model_copy(update={"example_id": f"unasked {at}"})
        for at, one in enumerate([*known.originals.values()][:count])
    }
    return replace(known, originals={**known.originals, **more})


def test_originals_that_were_not_asked_are_not_solved_and_say_nothing_of_flips(known):
    """The budget may be spent before all were asked."""
    flips = {name: one.model_copy(update={"flipped": True}) for name, one in known.verdicts.items()}
    every = unasked(replace(known, verdicts=flips), 20)
    chosen = pairs_of(every)
    found = intervals(every, chosen)
    assert found["flip_rate"] == pytest.approx(wilson(40, 40))
    assert found["paired_rate"] == pytest.approx(wilson(40, 60))
    total = measure("all", [*every.candidates.values()], every, chosen, chosen, every.originals)
    assert found["paired_rate"] == pytest.approx(total.solved_interval)


def test_without_any_reply_there_is_nothing_to_flip(known):
    found = intervals(unasked(Evidence({}, known.originals, {}, {}), 5), set())
    assert found["flip_rate"] is None
    assert found["paired_rate"] == pytest.approx(wilson(0, 45))


def test_of_originals_with_several_pairs_all_count(known):
    """Some have one, some have three."""
    chosen = {name for name in pairs_of(known, 3) if int(name.split("/")[0]) % 2 or name[-1] == "0"}
    assert len(pairs_of(known)) < len(chosen) < len(pairs_of(known, 3))
    found = intervals(known, chosen)
    total = measure("all", [*known.candidates.values()], known, chosen, chosen)
    for name in ("edit_distance", "boundary_distance", "perplexity_ratio"):
        low, high = found[name]
        assert low < getattr(total.chosen, name) < high
