import dataclasses
import json
from collections import Counter
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from fakes import as_reply, obedient, sample
from hypothesis import given, settings
from hypothesis import strategies as st
from plans import planner_of

from codlocal.core.records import Example
from codlocal.generation import prompts
from codlocal.generation.constraint import Span
from codlocal.generation.edits import Edit
from codlocal.generation.engines.engine import Sampling, fluency
from codlocal.generation.flips import Solved
from codlocal.generation.history import History
from codlocal.generation.known import Spent
from codlocal.generation.prompts import Attempt
from codlocal.generation.replies import candidates_of
from codlocal.generation.task import Task

TEXT = "The food was good and the staff friendly"


def task(text=TEXT, importance=(0, 0, 0, 3, 0, 0, 0, 2), source=1, name="train/7"):
    return Task(Example(id=name, text=text, label=source), source, 1 - source, np.array(importance))


def planner(candidates=8, *, fill=False, seed=0, template=None, span_words=None):
    return planner_of(
        template=template or prompts.load("sentiment"), candidates=candidates,
        sampling=Sampling(seed=seed), fill=fill, span_words=span_words,
    )  # fmt: skip


@given(
    candidates=st.integers(1, 30),
    importance=st.lists(st.floats(-5, 5), min_size=8, max_size=8),
    strategy=st.sampled_from(["lexical", "guided", "wide", "free"]),
    number=st.integers(0, 3),
)
@settings(deadline=None, max_examples=50)
def test_a_round_asks_for_all_its_candidates_under_ids_of_their_own(
    candidates, importance, strategy, number
):
    planned = planner(candidates).plan(task(importance=importance), number, strategy)
    assert sum(plan.request.count for plan in planned) == candidates
    assert all(plan.request.count > 0 for plan in planned)
    ids = [one for plan in planned for one in plan.candidate_ids]
    assert ids == [f"train/7/0/{number}/{index}" for index in range(candidates)]
    assert len({plan.request.id for plan in planned}) == len(planned)


def test_the_same_plan_is_made_again_and_another_seed_gives_another_one():
    first = planner().plan(task(), 0, "guided")
    second = planner().plan(task(), 0, "guided")
    assert [plan.request for plan in first] == [plan.request for plan in second]
    again = [plan.request.seed for plan in planner(seed=1).plan(task(), 0, "guided")]
    seeds = [plan.request.seed for plan in first]
    assert not set(again) & set(seeds)
    others = [plan.request.seed for plan in planner().plan(task(), 1, "guided")]
    others += [plan.request.seed for plan in planner().plan(task(name="train/8"), 0, "guided")]
    assert not set(others) & set(seeds)
    assert all(0 <= seed < 2**31 for seed in [*seeds, *again, *others])


def test_fewer_words_change_first_and_only_important_ones():
    planned = planner(16).plan(task(), 0, "guided")
    blanked = list(dict.fromkeys(plan.constraint.blanked for plan in planned))
    assert blanked == [
        "The food was ___ and the staff friendly",
        "The food was ___ and the staff ___",
    ]
    for plan in planned:
        assert plan.request.constraint == plan.constraint.pattern
    assert len({plan.constraint.pattern for plan in planned}) == len(planned)


def test_the_wide_round_changes_more():
    important = task(importance=(1, 1, 1, 3, 1, 1, 1, 2))
    blanks = {
        strategy: max(
            len(plan.constraint.marked.replace("] [", " ").split("["))
            - 1
            + plan.constraint.marked.count(" ")
            - plan.constraint.blanked.count(" ")
            for plan in planner(16).plan(important, 1, strategy)
        )
        for strategy in ("guided", "wide")
    }
    assert blanks["guided"] < blanks["wide"]
    assert {plan.strategy for plan in planner().plan(important, 1, "wide")} == {"wide"}


@pytest.mark.parametrize(("span_words", "most"), [(None, 2), (1, 1), (3, 3)])
def test_a_run_of_words_may_become_so_many(span_words, most):
    planned = planner(4, span_words=span_words).plan(task(), 0, "guided")
    for words in ("fine", "quite fine", "really quite fine", "a really quite fine"):
        reply = json.dumps({"text": TEXT.replace("good", words)})
        allowed = any(plan.constraint.allows(reply) for plan in planned)
        assert allowed is (len(words.split()) <= most)
    dropped = json.dumps({"text": TEXT.replace(" good", "")})
    assert [plan.constraint.allows(dropped) for plan in planned] == [False, True, False, True]


def test_a_run_is_never_made_shorter_than_it_is():
    neighbours = task(importance=(0, 0, 1, 3, 0, 0, 0, 0))
    planned = planner(4, span_words=1).plan(neighbours, 0, "guided")
    reply = json.dumps({"text": TEXT.replace("was good", "tasted fine")})
    assert planned[-1].constraint.allows(reply)


def test_the_last_round_may_rewrite_the_text():
    [plan] = planner().plan(task(), 2, "free")
    assert json.dumps(TEXT) in plan.request.prompt
    assert "[" not in plan.request.prompt.rsplit("Positive review:", 1)[1]


def test_a_text_without_words_is_rewritten_where_texts_are():
    assert planner().plan(task("!!!", ()), 0, "guided") == []
    assert planner().plan(task("!!!", ()), 0, "infill") == []
    [plan] = planner().plan(task("!!!", ()), 0, "free")
    assert plan.request.count == 8
    [row] = candidates_of(plan, [as_reply('{"text": "?"}')])
    assert row.text == "?"


@pytest.mark.parametrize(("fill", "shown"), [(True, '"The food was ___ '), (False, "was [good] ")])
def test_base_models_fill_in_and_others_edit(fill, shown):
    plan = planner(fill=fill).plan(task(), 0, "guided")[0]
    assert shown in plan.request.prompt.rsplit("\n\n", 1)[-1]


LONG = " ".join(["Some sentence about nothing much at all."] * 250) + " It was good."


@pytest.mark.parametrize("strategy", ["guided", "free"])
def test_a_long_text_is_asked_for_in_part(strategy):
    importance = np.zeros(len(LONG.split()))
    importance[-1] = 3.0
    for plan in planner().plan(task(LONG, importance), 0, strategy):
        assert len(plan.request.prompt) < 4000
        [row] = candidates_of(plan, [as_reply(obedient(plan.request, 0))])
        assert row.text.startswith(LONG[:9000])


@pytest.mark.parametrize("strategy", ["infill", "guided", "free"])
def test_of_what_was_tried_with_a_long_text_only_the_change_is_shown(strategy):
    importance = np.zeros(len(LONG.split()))
    importance[-1] = 3.0
    long = task(LONG, importance)
    tried = [Attempt(LONG.replace("It was good", f"It was so{at}"), 0.4) for at in range(3)]
    [plan, *_] = planner(fill=False).plan(long, 1, strategy, History({long.key: tried}))
    prompt = plan.places[0].blank.prompt if strategy == "infill" else plan.request.prompt
    assert all(f'"It was so{at}."' in prompt for at in range(3))
    assert len(prompt) < 4000


def test_fluency_sums_up_log_probabilities():
    assert fluency([]).tokens == 0
    found = fluency([-1.0, -3.0, -0.5])
    assert (found.mean, found.worst, found.tokens) == (-1.5, -3.0, 3)


def test_demonstrations_are_other_texts_of_both_labels_in_turn():
    texts = ["so bad", "very dull", "quite poor", "too slow", "so good", "very kind"]
    tasks = [
        task(text, importance=(0.1, 2.0), source=at // 4, name=str(at))
        for at, text in enumerate(texts)
    ]
    chosen = dataclasses.replace(planner(fill=True, template=prompts.load("generic")), others=tasks)
    prompt = chosen.plan(tasks[0], 0, "guided")[0].request.prompt
    shown = [
        json.loads(f"{{{line.split(': {')[1]}")["text"]
        for line in prompt.splitlines()
        if ': {"' in line
    ]
    assert shown == ["very dull", "so good", "quite poor", "very kind", "too slow"]
    assert 'Text: "very ___"' in prompt
    assert prompt.endswith('Text: "so ___"\npositive:')


def test_a_text_with_several_targets_is_one_demonstration():
    def tasks(text, source):
        example = Example(id=text, text=text, label=source)
        targets = [target for target in range(3) if target != source]
        return [Task(example, source, target, np.array([0.1, 2.0])) for target in targets]

    asked, *others = (
        tasks(text, at % 2) for at, text in enumerate(["so bad", "so good", "too dull"])
    )
    chosen = planner_of(
        template=prompts.load("generic"), label_names=("bad", "good", "odd"),
        others=[*asked, *others[0], *others[1]],
    )  # fmt: skip
    prompt = chosen.plan(asked[0], 0, "guided")[0].request.prompt
    assert [prompt.count(text) for text in ("so bad", "so good", "too dull")] == [0, 1, 1]


FLIPS = (
    Edit(((Span(13, 17), ("bad", "awful", "not good")),)),
    Edit(((Span(13, 17), ("bad", "poor")), (Span(32, 40), ("rude", "slow", "cold", "grim")))),
)


def lexical(history=None, edits=FLIPS, candidates=9, fill=True):
    chosen = dataclasses.replace(planner(candidates, fill=fill), edits=lambda _task: edits)
    return chosen.plan(task(), 1 if history else 0, "lexical", history)


def choices_of(plan):
    """The texts that a constraint of choices admits."""
    drawn = (sample(plan.request.constraint, Random(at)) for at in range(60))
    return {candidates_of(plan, [as_reply(reply)])[0].text for reply in drawn}


def test_a_lexical_round_deals_out_flips_so_that_no_text_can_come_twice():
    plans = [plan for plan in lexical() if plan.request.count == 1]
    dealt = plans[:6]  # three words in one place, three parts in two places
    texts = [choices_of(plan) for plan in dealt]
    assert all(texts)
    assert len(set.union(*texts)) == sum(map(len, texts))
    assert {"The food was bad and the staff friendly"} in texts
    assert {plan.constraint.blanked for plan in dealt} == {
        "The food was ___ and the staff friendly",
        "The food was ___ and the staff ___",
    }


def test_some_replies_of_a_lexical_round_may_use_words_of_their_own():
    plans = lexical()
    assert sum(plan.request.count for plan in plans) == 9
    assert any("[a-z]" in plan.request.constraint for plan in plans)
    without = lexical(edits=())
    assert sum(plan.request.count for plan in without) == 9
    assert all("[a-z]" in plan.request.constraint for plan in without)


def test_words_that_were_tried_are_not_offered_again():
    tried = [Attempt("The food was awful and the staff friendly", 0.9)]
    history = History(attempts={task().key: tried}, spent=Spent(10, 10, 30))
    offered = {text for plan in lexical(history)[:2] for text in choices_of(plan)}
    assert "The food was bad and the staff friendly" in offered
    assert not any("awful" in text for text in offered)


def test_a_base_model_is_shown_flips_but_no_attempts():
    attempts = {task().key: [Attempt("The food was so-so", 0.4)]}
    solved = {("b", 0): Solved("The soup was good", "The soup was bland", 1, 0)}
    history = History(attempts, solved, spent=Spent(10, 10, 30))
    filled, marked = (
        lexical(history, fill=fill)[0].request.prompt for fill in (True, False)
    )  # fmt: skip
    assert "The soup was bland" in filled
    assert "The soup was bland" in marked
    assert "so-so" not in filled
    assert "40 % negative" in marked


def test_the_first_places_get_most_of_the_replies():
    at = [Span(4, 8), Span(9, 12), Span(13, 17), Span(32, 40)]
    many = tuple(f"word{letter}" for letter in "abcdefghij")
    plans = lexical(History(), [Edit(((span, many),)) for span in at], candidates=12)
    blanked = [TEXT[: span.start] + "___" + TEXT[span.end :] for span in at]
    shown = Counter(plan.constraint.blanked for plan in plans if "word" in plan.request.constraint)
    assert [shown[one] for one in blanked] == [4, 2, 1, 1]


def test_a_free_reply_may_have_as_many_tokens_as_its_text_needs():
    [plan] = planner(4).plan(task(), 0, "free")
    assert plan.request.sampling.max_tokens == 24 + len(TEXT) // 2
    short = replace(planner(4), sampling=Sampling(max_tokens=30))
    [plan] = short.plan(task(), 0, "free")
    assert plan.request.sampling.max_tokens == 30


def test_a_free_reply_in_another_script_may_have_the_tokens_of_its_text():
    known = {"train/7": 100, "train/8": 9, "train/9": 3000}
    knowing = replace(planner(4), sampling=Sampling(max_tokens=4000), tokens=known.__getitem__)
    thai = "ร้านอาหารนี้บริการแย่มาก"
    for text, name, most in ((thai, "train/7", 100), (thai, "train/8", 12), (TEXT, "train/7", 20)):
        [plan] = knowing.plan(task(text, importance=(1,), name=name), 0, "free")
        assert plan.request.sampling.max_tokens == 24 + most
    long = ". ".join([thai] * 40)
    [plan] = knowing.plan(task(long, importance=(1,), name="train/9"), 0, "free")
    window = len(plan.constraint.window)
    assert window < len(long)
    assert plan.request.sampling.max_tokens == 24 + 3000 * window // len(long)
