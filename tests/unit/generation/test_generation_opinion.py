import math
from dataclasses import replace

import pytest
from fakes import FakeEngine
from plans import goal_of, planner_of
from search_rig import TEXTS, Rig

from codlocal.core.records import Candidate
from codlocal.generation.engines.engine import Proposals
from codlocal.generation.opinion import log_odds, question
from codlocal.generation.prompts import Demonstration


def answer(**tokens):
    return Proposals(tuple((token, math.log(one)) for token, one in tokens.items()), 9)


@pytest.mark.parametrize(
    ("tokens", "odds"),
    [
        ({"positive": 0.6, "negative": 0.2}, 3),
        ({" pos": 0.6, "neg": 0.2}, 3),
        ({"pos": 0.4, "positive": 0.2, "n": 0.1, "neg": 0.1}, 3),  # whichever way it is spelled
        ({"positive": 0.6, "x": 0.3, "y": 0.05}, 12),  # the other is no likelier than the last
        ({"x": 0.3, "negative": 0.2}, 1),
        ({"positively": 0.6, "negative": 0.2}, 1),
        ({"": 0.3, " ": 0.3, "x": 0.1}, None),
        ({}, None),
    ],
)
def test_a_label_is_known_by_how_it_begins(tokens, odds):
    found = log_odds(answer(**tokens), "positive", "negative")
    assert found == (odds and pytest.approx(math.log(odds)))


@pytest.mark.parametrize(
    ("label", "other", "begun", "tokens"),
    [
        ("card_lost", "card_stolen", "card_", {"lost": 0.6, "sto": 0.2}),
        ("very positive", "very negative", "very", {" pos": 0.6, " negative": 0.2}),
        ("LABEL_0", "LABEL_1", "LABEL_", {"0": 0.6, "1": 0.2}),
        ("class1", "class2", "class", {"1": 0.6, "2": 0.2}),
        ("positive", "positron", "", {"positive": 0.6, "positron": 0.2, "posit": 0.1}),
    ],
)
def test_what_two_labels_begin_with_is_said_already(label, other, begun, tokens):
    blank = question("fine", [], label, other)
    assert blank.begun == f'Label: "{begun}'
    assert log_odds(answer(**tokens), label, other) == pytest.approx(math.log(3))


def test_labels_of_which_one_begins_with_the_other_can_not_be_told_apart():
    assert question("fine", [], "good", "goods") is question("fine", [], "goods", "good") is None


def test_a_question_shows_labelled_texts_and_no_text_ends_its_quotes():
    shown = [Demonstration("negative", "so ___", 'so "bad"'), Demonstration("positive", "", "good")]
    blank = question('fine"\n<|im_end|> now', shown, "positive", "negative")
    assert blank.prompt + blank.begun == (
        'Text: "so \\"bad\\""\nLabel: "negative"\n\n'
        'Text: "good"\nLabel: "positive"\n\n'
        'Text: "fine\\"\\n\\u003c|im_end|> now"\nLabel: "'
    )
    assert blank.count == 20


def edit_of(rig, at, text="the food was rude"):
    task = rig.tasks[at]
    return Candidate(
        id="c", example_id=task.example.id, round=0, strategy="infill",
        source_label=task.source_label, target_label=task.target_label, text=text,
    )  # fmt: skip


def test_the_texts_that_are_shown_have_both_labels_and_are_not_the_original():
    rig = Rig()
    planner = planner_of(others=rig.tasks)
    prompt = planner.question(edit_of(rig, 0), 0).prompt
    assert TEXTS[0] not in prompt
    assert all(text in prompt for text in TEXTS[1:])
    assert planner_of(others=rig.tasks[:2]).question(edit_of(rig, 0), 0) is None
    assert planner_of().question(edit_of(rig, 0), 0) is None


class Gloomy(FakeEngine):
    """Takes every text for negative."""

    async def propose(self, blank):
        self.blanks.append(blank)
        return answer(negative=0.9, positive=0.1)


def test_good_flips_alone_are_asked_about_and_a_doubt_lets_the_search_go_on():
    def good(row, verdict):
        return verdict.flipped and len(row.text) % 2 == 0 and (verdict.opinion or 1) > 0

    engine = Gloomy()
    rig = Rig(engine, good=good, shown=True).run(["guided", "wide"])
    asked, ended, doubted = 0, set(), set()
    for verdict in rig.verdicts:
        row = rig.known.candidates[verdict.candidate_id]
        if not (verdict.flipped and len(row.text) % 2 == 0):
            assert verdict.opinion is None
            continue
        asked += 1
        agrees = verdict.label == 0
        assert verdict.opinion == pytest.approx(math.log(9) * (1 if agrees else -1))
        assert verdict.scoring_tokens == 1
        if row.round == 0:
            (ended if agrees else doubted).add(row.example_id)
    assert asked == len(engine.blanks) < len(rig.verdicts)
    assert ended and doubted
    assert {row.example_id for row in rig.candidates if row.round == 1} == set("0123") - ended


def test_a_flip_into_a_label_that_was_not_asked_for_is_asked_about_too():
    """The verify stage may take it, and a doubt has to count for it as for others."""
    rig = Rig(Gloomy(), shown=True)
    # So that no flip has the label that is asked for.
    rig.tasks = [replace(task, target_label=task.source_label) for task in rig.tasks]
    rig.search = replace(rig.search, goal=goal_of(as_asked=True))
    rig.run(["guided", "wide"])
    flips = [verdict for verdict in rig.verdicts if verdict.flipped]
    assert flips
    assert all(verdict.opinion for verdict in flips)
    assert {row.round for row in rig.candidates} == {0, 1}  # and ends no search


def test_an_answer_that_names_neither_label_is_no_opinion_and_costs_its_token():
    rig = Rig(shown=True).run(["guided"])
    flips = [verdict for verdict in rig.verdicts if verdict.flipped]
    assert flips
    assert {(verdict.opinion, verdict.scoring_tokens) for verdict in flips} == {(None, 1)}
