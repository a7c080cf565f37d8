"""Of a long text only the sentences around an edit are repeated."""

import json

import numpy as np
import pytest
from grammars import grammar_problem
from plans import planner_of

from codlocal.core.records import Example
from codlocal.generation import prompts
from codlocal.generation.constraint import (
    Span,
    edit_constraint,
    parse_reply,
    rewrite_constraint,
    within_reach,
    words,
)
from codlocal.generation.flips import Solved
from codlocal.generation.history import History
from codlocal.generation.prompts import Attempt
from codlocal.generation.task import Task
from codlocal.generation.window import edited_part, longest_window

SENTENCES = [f"Sentence number {number} is plain." for number in range(60)]


def test_of_a_long_text_only_the_sentences_around_the_spans_are_repeated():
    text = " ".join(SENTENCES)
    start = text.index("number 30")
    constraint = edit_constraint(text, [Span(start, start + 6)])
    assert constraint.window == "Sentence number 30 is plain. "
    assert constraint.before.endswith("number 29 is plain. ")
    reply = '{"text": "Sentence item 30 is plain. "}'
    assert constraint.allows(reply)
    assert constraint.splice(parse_reply(reply)) == text.replace("number 30", "item 30")


@pytest.mark.parametrize("gap", [" ", "\n\n"])
@pytest.mark.parametrize("said", ["I hated it.", "I hated it. ", " I hated it.\n"])
def test_a_rewritten_sentence_of_a_long_text_keeps_the_white_space_around_it(gap, said):
    text = gap.join([*SENTENCES[:20], "I loved it.", *SENTENCES[20:]])
    start = text.index("loved")
    constraint = rewrite_constraint(text, Span(start, start + 5))
    assert constraint.window.strip() == "I loved it."
    assert constraint.splice(said) == text.replace("loved", "hated")
    assert constraint.splice("I loved it.") == text


def test_a_text_that_is_rewritten_whole_is_taken_as_it_comes():
    assert rewrite_constraint("I loved it. ", None).splice("I hated it.") == "I hated it."


@pytest.mark.parametrize("mark", [".", "!", "?", "…", "...", '."', ".)", "\n"])
def test_a_slot_at_the_start_of_a_sentence_is_not_joined_to_the_sentence_before(mark):
    text = "x" * 390 + f" end{mark} Great food here. More " + "text " * 20
    if mark == "\n":
        text = text.replace("\n ", "\n")
    start = text.index("Great")
    constraint = edit_constraint(text, [Span(start, start + 5)])
    assert constraint.window.startswith("Great food here.")
    assert constraint.allows(json.dumps({"text": constraint.window.replace("Great", "Bad")}))
    assert not constraint.allows(json.dumps({"text": constraint.window.replace("Great ", "")}))
    assert constraint.splice(constraint.window) == text


@pytest.mark.parametrize("mark", ["。", "！」"])
def test_sentences_of_a_script_without_spaces_are_told_apart(mark):
    text = f"服务很好{mark}" + "食物很差" * 200 + f"{mark}环境很好{mark}"
    constraint = edit_constraint(text, [Span(len(text) - 3 - len(mark), len(text) - len(mark))])
    assert constraint.window == f"环境很好{mark}"
    middle = edit_constraint(text, [Span(400, 401)]).window
    assert 390 < len(middle) <= 400


@pytest.mark.parametrize("new", ["awful", "", "not very good at all"])
def test_of_a_long_edited_text_the_sentences_that_changed_are_shown(new):
    text = " ".join(SENTENCES)
    edited = text.replace("30 is plain", f"30 is {new}")
    assert edited_part(text, edited) == f"Sentence number 30 is {new}. "
    assert edited_part("so good", "so bad") == "so bad"


def test_of_a_long_text_that_was_edited_all_over_the_first_edits_are_shown():
    text = " ".join(SENTENCES)
    edited = text.replace("plain", "awful")
    shown = edited_part(text, edited)
    assert shown.startswith("Sentence number 0 is awful. ")
    assert shown in edited
    assert len(shown) <= 400


def test_a_window_reaches_over_all_spans():
    text = " ".join(SENTENCES)
    spans = [Span(text.index(f"number {one}"), text.index(f"number {one}") + 6) for one in (10, 12)]
    window = edit_constraint(text, spans).window
    assert window.startswith("Sentence number 10")
    assert window.endswith("number 12 is plain. ")


@pytest.mark.parametrize("text", ["word " * 2000, "很" * 3000 + " word " + "差" * 3000])
def test_a_window_is_bounded_even_without_sentences(text):
    middle = len(words(text)) // 2
    for constraint in (
        edit_constraint(text, words(text)[middle : middle + 1]),
        rewrite_constraint(text, words(text)[middle]),
        rewrite_constraint("…" * 5000, None),
    ):
        assert 0 < len(constraint.window) <= 400
        assert grammar_problem(constraint.pattern) == ""
        whole = constraint.before + constraint.window + constraint.after
        assert constraint.splice(constraint.window) == whole


def test_spans_that_are_too_far_from_the_first_are_left_alone():
    short, long = "word " * 10, "word " * 1000
    assert within_reach(short, words(short)[::-1]) == words(short)[::-1]
    spans = words(long)
    chosen = [spans[500], spans[0], spans[520], spans[999], spans[505]]
    assert within_reach(long, chosen) == [spans[500], spans[520], spans[505]]


def test_what_is_too_long_for_a_word_is_no_place_to_edit():
    text = f"good {'QUJD' * 500} food"
    assert [text[span.start : span.end] for span in words(text)] == ["good", "food"]
    for span in words(text):
        assert len(edit_constraint(text, [span]).window) <= 400


@pytest.mark.parametrize(
    ("text", "tokens", "longest"),
    [
        ("word " * 80, 4000, 400),
        ("“word” " * 50, 116, 400),
        ("很" * 300, 0, 400),
        ("很" * 300, 200, 150),
        ("很" * 300, 900, 33),
    ],
)
def test_a_window_has_no_more_tokens_in_another_script_than_in_english(text, tokens, longest):
    assert longest_window(text, tokens) == longest


ZH = [f"{number}号房间很干净，早餐却让人失望。" * 18 for number in range(8)]
EN = [f"Room {number} was clean. The breakfast was poor. " * 8 for number in range(8)]


def prompts_of(texts, strategy, tokens, *, fill):
    """The prompts of the first text in a later round, and the longest window of them."""
    tasks = [
        Task(Example(id=str(at), text=text, label=at % 2), at % 2, 1 - at % 2,
             np.arange(1.0, len(words(text)) + 1))
        for at, text in enumerate(texts)
    ]  # fmt: skip
    attempts = {tasks[0].key: [Attempt(texts[0].replace("0", "9", 1), 0.4)]}
    solved = {("x", 0): Solved(texts[1][:150], texts[1][:140], 1, 0)}
    planner = planner_of(
        template=prompts.load("generic"), candidates=4, fill=fill, others=tasks,
        tokens=lambda _: tokens,
    )  # fmt: skip
    planned = planner.plan(tasks[0], 1, strategy, History(attempts, solved))
    if strategy == "infill":
        return [place.blank.prompt for place in planned[0].places], 0
    return [one.request.prompt for one in planned], max(
        len(one.constraint.window) for one in planned
    )


@pytest.mark.parametrize("fill", [True, False])
@pytest.mark.parametrize("strategy", ["infill", "guided", "free"])
def test_prompts_of_a_script_of_many_tokens_are_as_long_as_english_ones(strategy, fill):
    shown, window = prompts_of(ZH, strategy, len(ZH[0]), fill=fill)
    assert window <= 100  # tokens: one for each character
    assert all(sum(not sign.isascii() for sign in prompt) < 13 * 100 for prompt in shown)
    assert all("号房间" in prompt for prompt in shown)


@pytest.mark.parametrize("fill", [True, False])
@pytest.mark.parametrize("strategy", ["infill", "guided", "free"])
def test_prompts_of_ascii_texts_heed_no_tokens(strategy, fill):
    shown = prompts_of(EN, strategy, 4000, fill=fill)
    assert shown == prompts_of(EN, strategy, 0, fill=fill)


@pytest.mark.parametrize(("length", "shown"), [(200, True), (201, False)])
def test_a_flip_that_is_longer_than_half_a_window_is_not_shown(length, shown):
    flip = Solved("It was so good. ".ljust(length, "a"), "It was so bad.", 1, 0)
    task = Task(Example(id="a", text="It was good.", label=1), 1, 0, np.ones(3))
    planner = planner_of(template=prompts.load("generic"), candidates=4, fill=False)
    [planned, *_] = planner.plan(task, 1, "guided", History({}, {("x", 0): flip}))
    assert ("It was so bad." in planned.request.prompt) == shown
