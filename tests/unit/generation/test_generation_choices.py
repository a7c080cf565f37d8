import json
import random

import pytest
from fakes import sample
from grammars import guidance_accepts, texts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codlocal.generation.constraint import (
    Span,
    choice_constraint,
    parse_reply,
    words,
)

PHRASES = (
    "bad",
    "not good",
    "Never",
    "it's",
    "a-b",
    "很好",
    "café",
    'say "no"',
    r"back\\slash",
    "(x|y)*",
)


@st.composite
def choices(draw):
    text = draw(texts)
    spans = draw(st.lists(st.sampled_from(words(text)), min_size=1, max_size=3, unique=True))
    phrases = st.lists(st.sampled_from(PHRASES), min_size=1, max_size=5, unique=True)
    return text, [(span, draw(phrases) + draw(st.sampled_from([[], [""]]))) for span in spans]


def expected(text, chosen):
    for span, phrase in sorted(chosen, key=lambda pair: -pair[0].start):
        before = text[: span.start]
        if not phrase and before.endswith(" "):
            before = before[:-1]
        text = before + phrase + text[span.end :]
    return text


@given(choices(), st.data())
@settings(deadline=None, max_examples=120, suppress_health_check=[HealthCheck.too_slow])
def test_a_choice_admits_its_phrases_and_nothing_else(edit, data):
    text, slots = edit
    constraint = choice_constraint(text, slots)
    chosen = [
        (span, data.draw(st.sampled_from([p for p in phrases if p]))) for span, phrases in slots
    ]
    after = constraint.splice("")
    window = expected(text, chosen)[len(constraint.before) :]
    window = window[: len(window) - len(constraint.after)] if constraint.after else window
    reply = json.dumps({"text": window}, ensure_ascii=False)
    assert constraint.allows(reply)
    assert guidance_accepts(constraint.pattern, reply)
    assert constraint.splice(parse_reply(reply)) == expected(text, chosen)
    assert after == constraint.before + constraint.after
    other = sample(constraint.pattern, random.Random(data.draw(st.integers(0, 10**6))))
    assert constraint.allows(other)
    assert not constraint.allows(reply[:-2] + "!?!" + reply[-2:])


@pytest.mark.parametrize(
    ("text", "phrases", "texts_"),
    [
        ("was not good", ["", "so"], ["was good", "was so good"]),
        ("was not good", ["so"], ["was so good"]),
        ("not good", ["", "so"], ["so good"]),  # nothing before it to take along
        ("was not good", [""], ["was good"]),
    ],
)
def test_a_word_may_be_left_out_with_the_space_before_it(text, phrases, texts_):
    at = text.index("not")
    constraint = choice_constraint(text, [(Span(at, at + 3), phrases)])
    for one in (text, *texts_, "good", "was  good"):
        assert constraint.allows(json.dumps({"text": one})) is (one in texts_)


@pytest.mark.parametrize("bad", [[], [(Span(0, 2), [])], [(Span(5, 99), ["x"])]])
def test_a_choice_needs_places_and_something_to_choose(bad):
    with pytest.raises(ValueError, match=r"span|choose|outside"):
        choice_constraint("so good", bad)


def test_choices_show_the_blanks():
    constraint = choice_constraint("so good a day", [(Span(8, 9), ["the"]), (Span(3, 7), ["bad"])])
    assert constraint.blanked == "so ___ ___ day"
    assert constraint.marked == "so [good] [a] day"
