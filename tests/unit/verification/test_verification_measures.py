from dataclasses import replace
from math import exp, log

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from verified import verdict_with

from codlocal.core.config import Config
from codlocal.core.errors import RunError
from codlocal.core.records import Candidate, Example, Fluency, Original
from codlocal.core.run import RunFolder
from codlocal.verification.choice import Evidence
from codlocal.verification.measures import diversity, measure, measure_generation
from codlocal.verification.report import read_generation, table

LABELS = ("negative", "positive")
SECONDS = {"all": 24.0, "round 1": 9.0}


def score(mean):
    return Fluency(mean=mean, worst=-9.0, tokens=4)


def row(name, text="a b", *, at=0, source=1, tokens=10):
    return Candidate(
        id=name, example_id=name[0], round=at, strategy="guided", source_label=source,
        target_label=1 - source, text=text, failure=None if text else "empty",
        completion_tokens=tokens,
    )  # fmt: skip


def verdict(name, flipped, p, edit, mean):
    return verdict_with(
        candidate_id=name, example_id=name[0], probabilities=(p, 1 - p), label=int(p < 0.5),
        flipped=flipped, edits=1, edit_distance=edit, fluency=score(mean) if mean else None,
    )  # fmt: skip


@pytest.fixture
def evidence():
    rows = [
        row("a0", "a b c d"),
        row("a1", "a b c e"),
        row("a2", None),
        row("b0", at=0, source=0),
        row("b1", "x y c d", at=1, source=0, tokens=30),
    ]
    verdicts = [
        verdict("a0", True, 0.9, 0.2, -3.0),
        verdict("a1", True, 0.6, 0.4, -2.0),
        verdict("b0", False, 0.7, 0.3, None),
        verdict("b1", True, 0.2, 0.6, -1.0),
    ]
    return Evidence(
        examples={name: Example(id=name, text="text", label=1) for name in "abc"},
        originals={
            name: Original(example_id=name, probabilities=(0.1, 0.9), label=1, fluency=score(-2.0))
            for name in "abc"
        },
        candidates={one.id: one for one in rows},
        verdicts={one.candidate_id: one for one in verdicts},
    )


@pytest.fixture
def generation(evidence):
    return measure_generation(evidence, {"a0", "a1", "b1"}, {"a1", "b1"}, LABELS, SECONDS)


def test_all_candidates_together(generation):
    total = generation.total
    assert (total.originals, total.candidates, total.failed, total.flips) == (3, 5, 1, 3)
    assert (total.flip_rate, total.solved) == (0.6, 2)
    assert total.solved_rate == pytest.approx(2 / 3)
    assert total.tokens_per_pair == pytest.approx(70 / 2)
    assert total.seconds_per_pair == 12.0


def test_an_original_is_solved_by_a_good_flip_that_was_not_chosen(evidence):
    found = measure_generation(evidence, {"a0", "a1", "b1"}, {"b1"}, LABELS, SECONDS)
    assert (found.total.solved, found.total.chosen.n) == (2, 1)
    assert (found.rounds[0].solved, found.directions[1].solved) == (1, 1)


def test_the_tokens_of_scores_are_counted_where_they_were_asked_for(evidence):
    priced = {
        name: one.model_copy(
            update={"fluency": one.fluency and one.fluency.model_copy(update={"generated": 1})}
        )
        for name, one in evidence.verdicts.items()
    }
    again = replace(evidence, verdicts=priced)
    found = measure_generation(again, {"a0", "a1", "b1"}, {"a1", "b1"}, LABELS, SECONDS)
    assert found.total.tokens_per_pair == pytest.approx((70 + 3) / 2)
    assert found.rounds[1].tokens_per_pair == 30 + 1


def test_the_interval_is_wilsons(generation):
    # The score test's own equation: the bounds are where |p - 2/3| is z standard errors of p.
    for bound in generation.total.solved_interval:
        z = (2 / 3 - bound) / (bound * (1 - bound) / 3) ** 0.5
        assert abs(z) == pytest.approx(1.959964, abs=1e-4)


def test_closeness_is_told_of_good_flips_and_of_pairs(generation):
    good, chosen = generation.total.good, generation.total.chosen
    assert (good.n, chosen.n) == (3, 2)
    assert good.edit_distance == 0.4
    assert chosen.edit_distance == pytest.approx(0.5)
    assert good.boundary_distance == pytest.approx(0.3)  # of 0.4, 0.1 and 0.3
    assert good.perplexity_ratio == pytest.approx(1.0)  # of e, 1 and 1/e
    assert log(chosen.perplexity_ratio) == pytest.approx(log((1 + exp(-1)) / 2))
    assert good.diversity == pytest.approx((1 / 4 + 2 / 4 + 3 / 4) / 3)


def test_every_round_and_every_direction_has_its_own(generation):
    first, second = generation.rounds
    assert (first.name, first.originals, first.candidates, first.solved) == ("round 1", 2, 4, 1)
    assert (second.name, second.originals, second.candidates, second.solved) == ("round 2", 1, 1, 1)
    assert second.tokens_per_pair == 30
    up, down = generation.directions
    assert (up.name, up.candidates, up.flip_rate) == ("negative -> positive", 2, 0.5)
    assert (down.name, down.candidates, down.chosen.n) == ("positive -> negative", 3, 1)
    assert (first.seconds_per_pair, second.seconds_per_pair) == (9.0, None)
    assert up.seconds_per_pair is None


def test_what_is_not_there_has_no_measure(evidence):
    nothing = measure("nothing", [], evidence, set(), set())
    assert nothing.flip_rate is nothing.solved_rate is nothing.solved_interval is None
    assert nothing.tokens_per_pair is nothing.good.edit_distance is nothing.good.diversity is None
    bare = Evidence(evidence.examples, {}, {}, {})
    assert measure_generation(bare, set(), set(), LABELS, SECONDS).rounds == ()


@given(st.lists(st.text("ab c", max_size=8), max_size=6))
def test_diversity_is_a_share_and_has_no_order(texts):
    found = diversity(texts)
    if len(texts) < 2:
        assert found is None
    else:
        assert 0 <= found <= 1
        assert diversity(texts[::-1]) == pytest.approx(found)


def test_diversity_runs_from_one_text_to_no_common_word():
    assert diversity(["a b", "A  b"]) == 0
    assert diversity(["a b", "c d", "e f"]) == 1


def test_of_many_texts_some_are_compared():
    assert diversity([f"a {at % 2}" for at in range(5000)]) == pytest.approx(0.25, abs=0.26)
    assert diversity(["a"] * 1001 + ["b"] * 1000) == pytest.approx(0.5, abs=0.01)


def test_a_table_has_all_columns_as_long_as_there_is_room(generation):
    drawn = table(generation)
    assert [column.header for column in drawn.columns] == [
        "", "all", "round 1", "round 2", "negative -> positive", "positive -> negative",
    ]  # fmt: skip
    many = generation.model_copy(update={"directions": generation.directions * 3})
    people = generation.total.model_copy(update={"name": "people"})
    shown = table(many, [people])
    headers = [column.header for column in shown.columns]
    assert headers == ["", "all", "people", "round 1", "round 2"]
    assert "6 directions: in generation.json" in str(shown.caption)
    assert "gap of the two likeliest classes" in str(shown.caption)
    assert "\n" not in str(drawn.caption)


def test_labels_are_no_markup(generation, capsys):
    odd = [one.model_copy(update={"name": "[/neg] -> [bold]"}) for one in generation.directions[:1]]
    Console(width=120).print(table(generation.model_copy(update={"directions": tuple(odd)})))
    assert "[/neg] -> [bold]" in capsys.readouterr().out


def test_a_table_fits_a_narrow_terminal(generation, capsys):
    Console(width=80).print(table(generation))
    text = capsys.readouterr().out
    assert "perplexity ratio" in text
    assert "21-94%" in text
    assert "…" not in text
    many = generation.model_copy(update={"rounds": generation.rounds * 3})
    Console(width=80).print(table(many, [generation.total]))
    assert "…" not in capsys.readouterr().out


def test_missing_measures_say_how_to_get_them(tmp_path):
    run = RunFolder(tmp_path, Config())
    with pytest.raises(RunError, match="json is missing") as caught:
        read_generation(run)
    assert "codlocal verify" in caught.value.hint
    run.file("generation.json").write_text("{}")
    with pytest.raises(RunError, match="json is damaged"):
        read_generation(run)
