import json
import random
import re
import unicodedata

import pytest
from fakes import sample
from grammars import ODD_TEXTS, grammar_problem, guidance_accepts, texts
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from codlocal.core.scripts import is_unspaced
from codlocal.generation.constraint import (
    EditReply,
    Span,
    edit_constraint,
    parse_reply,
    rewrite_constraint,
    words,
)


def differs_in_the_spans_only(text, spans, edited, extra_words):
    """An independent reading: literals around gaps; a gap may take the space before it along."""
    parts, at, count = [], 0, 0
    ordered = sorted(spans, key=lambda span: span.start)
    for index, span in enumerate(ordered):
        count += 1
        if index + 1 < len(ordered) and text[span.end : ordered[index + 1].start] == " ":
            continue
        first = ordered[index + 1 - count]
        before = text[at : first.start]
        word = r"[^\s\x00-\x20\"\\.,;:!?()\[\]{}<>]+"
        most = count + extra_words
        if before.endswith(" "):
            parts.append(re.escape(before[:-1]) + f"(?: {word}){{0,{most}}}")
        else:
            parts.append(re.escape(before) + f"{word}(?: {word}){{0,{most - 1}}}")
        at, count = span.end, 0
    return re.fullmatch("".join(parts) + re.escape(text[at:]), edited) is not None


@st.composite
def edits(draw):
    text = draw(texts)
    spans = draw(st.lists(st.sampled_from(words(text)), min_size=1, max_size=4, unique=True))
    return text, spans, draw(st.integers(0, 2))


@given(edits(), st.integers(0, 10**6))
@settings(deadline=None, max_examples=150)
def test_every_reply_that_fits_differs_from_the_original_in_the_spans_only(edit, seed):
    text, spans, extra = edit
    constraint = edit_constraint(text, spans, extra)
    assert constraint.before + constraint.window + constraint.after == text
    reply = sample(constraint.pattern, random.Random(seed))
    assert constraint.allows(reply)
    edited = constraint.splice(parse_reply(reply))
    assert differs_in_the_spans_only(text, spans, edited, extra), (text, edited)


@given(st.data())
@settings(deadline=None, max_examples=30, suppress_health_check=list(HealthCheck))
def test_the_same_holds_for_any_string_that_the_pattern_describes(data):
    text = data.draw(st.sampled_from([text for text in ODD_TEXTS if len(text) < 45]))
    spans = data.draw(st.lists(st.sampled_from(words(text)), min_size=1, max_size=2, unique=True))
    constraint = edit_constraint(text, spans, 1)
    reply = data.draw(st.from_regex(constraint.pattern, fullmatch=True))
    assert differs_in_the_spans_only(text, spans, constraint.splice(parse_reply(reply)), 1)


@given(edits(), st.integers(0, 10**6))
@settings(deadline=None, max_examples=60)
def test_guidance_reads_the_pattern_as_we_do(edit, seed):
    text, spans, extra = edit
    pattern = edit_constraint(text, spans, extra).pattern
    assert grammar_problem(pattern) == ""
    reply = sample(pattern, random.Random(seed))
    assert guidance_accepts(pattern, reply)
    assert not guidance_accepts(pattern, reply[:-2] + '!?"}')
    assert not guidance_accepts(pattern, "It is a lovely day.")


@pytest.mark.parametrize("text", [text for text in ODD_TEXTS if len(text) < 400])
def test_filling_in_real_words_fits_and_gives_the_text_with_those_words(text):
    span = words(text)[-1]
    word = "很" if is_unspaced(text[span.start]) else "great"
    edited = text[: span.start] + (word.upper() if text[span.start].isupper() else word)
    edited += text[span.end :]
    constraint = edit_constraint(text, [span])
    reply = json.dumps({"text": edited}, ensure_ascii=False)
    if span.end - span.start > 1 or not text[span.start].isupper():
        assert constraint.allows(reply)
        assert guidance_accepts(constraint.pattern, reply)
    assert constraint.splice(parse_reply(reply)) == edited


def allowed(text, old, new, extra_words=1):
    start = text.index(old)
    constraint = edit_constraint(text, [Span(start, start + len(old))], extra_words)
    reply = json.dumps({"text": text.replace(old, new, 1)}, ensure_ascii=False)
    return constraint.allows(reply)


@pytest.mark.parametrize(
    ("old", "new", "fits"),
    [
        ("good", "bad", True),
        ("good", "not bad", True),
        ("good", "isn't", True),
        ("good", "isn'k", False),
        ("good", "not so bad", False),
        ("good", "Bad", False),
        ("good", "b4d", False),
        ("good", "bad,", False),
        ("good", 'bad"', False),
        ("good", "bad\\n", False),
        ("good", "bad\n", False),
        ("good", "", False),
        (" good", "", True),
        ("The", "A", True),
        ("The", "a", False),
        ("The", "No wait", True),
        ("The", "No Wait", False),
        ("The", "", False),
        ("FOOD", "MEAL", True),
        ("FOOD", "meal", False),
        ("FOOD", "OLD MEAL", True),
        ("FOOD", "OLD meal", False),
        ("The FOOD", "Some MEAL", True),
        ("The FOOD", "Some meal", False),
    ],
)
def test_a_slot_keeps_to_words_in_the_case_of_what_was_there(old, new, fits):
    text = "The FOOD was good here."
    start = text.index(old.strip())
    constraint = edit_constraint(text, [Span(start, start + len(old.strip()))])
    reply = json.dumps({"text": text.replace(old, new, 1)})
    assert constraint.allows(reply) is fits


def test_neighbours_share_a_slot_and_its_words():
    text = "The food was good"
    spans = words(text)
    constraint = edit_constraint(text, spans[2:], 1)
    assert constraint.marked == "The food [was good]"
    assert constraint.blanked == "The food ___"
    assert constraint.allows('{"text": "The food tasted really awful"}')
    assert constraint.allows('{"text": "The food"}')
    assert not constraint.allows('{"text": "The food tasted really quite awful"}')
    apart = edit_constraint(text, [spans[0], spans[3]], 0)
    assert apart.marked == "[The] food was [good]"
    assert apart.allows('{"text": "No food was bad"}')
    assert not apart.allows('{"text": "No food is bad"}')


def test_only_a_blank_goes_with_a_word_that_vanishes():
    for between in ("\n", "\t", "\u00a0", "-/"):
        text = f"nice place{between}bad food"
        span = (
            words(text)[-2] if between != "-/" else Span(text.index("bad"), text.index("bad") + 3)
        )
        constraint = edit_constraint(text, [span], 1)
        good = json.dumps({"text": f"nice place{between}good food"}, ensure_ascii=False)
        gone = json.dumps({"text": "nice place food"}, ensure_ascii=False)
        moved = json.dumps({"text": "nice place good food"}, ensure_ascii=False)
        assert constraint.allows(good)
        assert not constraint.allows(gone)
        assert not constraint.allows(moved)


def test_other_scripts_get_words_of_their_own():
    assert allowed("服务很差。", "服务很差", "食物很好吃")
    assert not allowed("服务很差。", "服务很差", "很。好")
    assert allowed("Le café est mauvais", "mauvais", "très bon")
    assert not allowed("Le café est mauvais", "mauvais", "bon\x01")
    assert allowed("C'était mauvais", "mauvais", "aujourd'hui peut-être")
    for mark in ("___", "a|b", "a=b", "so_gut", "\u200bgut", "gu\ufffd"):
        assert not allowed("Das Essen war früher gut", "gut", mark)
    # An accent may be a character of its own.
    assert allowed("cafe\u0301 good", "good", "tre\u0300s")
    # Emoji and typographic quotes are no script: English stays English around them.
    assert not allowed("It’s good 😀", "good", "b*d")
    assert allowed("It’s good 😀", "good", "bad")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("食物3次 bad", ["食", "物", "3", "次", "bad"]),
        ("すごい", ["す", "ご", "い"]),
        ("ที่ดี", ["ที่", "ดี"]),
        ("서비스가 나쁘다", ["서비스가", "나쁘다"]),
    ],
)
def test_a_character_of_a_script_without_spaces_is_a_word(text, found):
    assert [text[span.start : span.end] for span in words(text)] == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("See https://a.example.com/x?id=3&q=good, great", ["See", "great"]),
        ("网址http://a.b/c很", ["网", "址", "很"]),
        ('<a href="http://a.b/c">good</a>', ["a", "href", "good", "a"]),
        ("WWW.GOOD.COM is www good", ["is", "www", "good"]),
        ("Fish &amp; chips &lt;3 &#39;good&#x27;", ["Fish", "chips", "3", "good"]),
        ("R&D is good & cheap; bad&good", ["R", "D", "is", "good", "cheap", "bad", "good"]),
    ],
)
def test_addresses_and_names_of_characters_have_no_words(text, found):
    assert [text[span.start : span.end] for span in words(text)] == found


def test_a_contraction_is_one_word_in_tokenised_texts_too():
    text = "i ca n't say , Wo N’T you ? n't nt do n'ts"
    assert [text[span.start : span.end] for span in words(text)] == [
        "i", "ca n't", "say", "Wo N’T", "you", "n't", "nt", "do", "n'ts",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "spans", [[], [Span(0, 3), Span(2, 5)], [Span(3, 3)], [Span(5, 99)], [Span(-1, 2)]]
)
def test_impossible_spans_are_refused(spans):
    with pytest.raises(ValueError, match=r"span|Span"):
        edit_constraint("The food was good", spans)


@given(st.data())
@settings(deadline=None, max_examples=30, suppress_health_check=list(HealthCheck))
def test_a_rewrite_is_any_json_string(data):
    text = data.draw(st.sampled_from(["Bad.", 'a "b" \\ c', "很差", "x" * 30]))
    pattern = rewrite_constraint(text, None).pattern
    assert grammar_problem(pattern) == ""
    reply = data.draw(st.from_regex(pattern, fullmatch=True))
    assert parse_reply(reply)


def test_a_rewrite_may_quote():
    reply = json.dumps({"text": 'He said "no" \\ 😀'}, ensure_ascii=False)
    constraint = rewrite_constraint("He said no now", None)
    assert constraint.allows(reply)
    assert guidance_accepts(constraint.pattern, reply)
    assert not constraint.allows('{"text": ""}')


def test_a_rewrite_may_break_lines_and_escape_what_a_prompt_does():
    constraint = rewrite_constraint("Cold.\nRude & <loud>.", None)
    for reply in (
        json.dumps({"text": 'Warm.\r\n\t"Kind".'}),
        r'{"text": "Warm \u0026 \u003cquiet\u003e, isn\u0027t it"}',
    ):
        assert constraint.allows(reply)
        assert guidance_accepts(constraint.pattern, reply)
        assert grammar_problem(constraint.pattern) == ""
        assert parse_reply(reply) == json.loads(reply)["text"]
    for reply in (r'{"text": "a\u0000"}', r'{"text": "a\ud800"}', r'{"text": "a\b"}'):
        assert not constraint.allows(reply)


@given(st.text(st.characters(codec="utf-8")))
@example("⺀")
@settings(deadline=None)
def test_words_cover_letters_and_digits_and_nothing_else(text):
    assume("&" not in text and "://" not in text and "www." not in text.lower())
    covered = "".join(text[span.start : span.end] for span in words(text))
    assert all(kind(letter) in "LNM?" or letter in "'’- " for letter in covered)
    left = text
    for span in reversed(words(text)):
        left = left[: span.start] + left[span.end :]
    assert not any(kind(letter) in "LN" for letter in left)


def kind(letter):
    """L for letters, N for numbers, M for marks, ? for what this Python doesn't know yet."""
    found = unicodedata.category(letter)
    return "?" if found == "Cn" else found[0]


@pytest.mark.parametrize(
    "text",
    [
        "यह खाना अच्छा नहीं था",
        "تناولتُ طَعامًا لذيذًا",
        "שָׁלוֹם טוב",
        "இது நல்லது",
        "cafe\u0301 nai\u0308ve",
    ],
)
def test_a_mark_belongs_to_the_word_on_whose_letters_it_is_written(text):
    assert [text[span.start : span.end] for span in words(text)] == text.split()


@pytest.mark.parametrize(("reply", "text"), [('{"text": "a"}', "a"), (' {"text":"\\u0041"} ', "A")])
def test_replies_are_read(reply, text):
    assert parse_reply(reply) == text


@pytest.mark.parametrize(
    "reply",
    ["", "hello", '"text"', '{"text": 1}', '{"txt": "a"}', '{"text": "a", "b": 1}',
     '{"text": "a', '{"text": "a"} and more', '{"text": "a\nb"}', "[]", "null"],
)  # fmt: skip
def test_anything_but_the_json_reply_is_refused(reply):
    with pytest.raises(ValueError, match=r"\w"):
        parse_reply(reply)


def test_the_reply_type_is_strict():
    assert EditReply.model_json_schema()["additionalProperties"] is False
