"""The edit constraint: a regular expression for the whole JSON reply, minimal by construction.

Everything but the chosen words is a literal, so whatever the model samples, the text outside the
spans comes back as it was. The pattern describes the *encoded* JSON reply: quotes, backslashes
and control characters of the text are escaped first, then the result is quoted for the regular
expression. Only constructs that xgrammar, llguidance and `re` read alike are used.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

import regex
from pydantic import BaseModel, ConfigDict, ValidationError

from codlocal.core.scripts import CHARACTER, UNSPACED, characters_like, has_other_letters
from codlocal.generation.letter_case import is_capitalised, is_shouted
from codlocal.generation.quoting import quoted
from codlocal.generation.window import LONGEST_WINDOW, sentences_around

_LETTERS = rf"[[\p{{L}}\p{{N}}]--[{UNSPACED}]][[\p{{L}}\p{{N}}\p{{M}}]--[{UNSPACED}]]*"
"""Letters and digits of any script with spaces, with the marks that are written on them."""
_KEPT = (
    r"(?i:[a-z][a-z0-9+.\-]{0,19}://|www\.)[\x21\x23-\x3b\x3d\x3f-\x7e]+"
    r"|&(?i:[a-z][a-z0-9]{0,30}|#x?[0-9a-f]{1,6});"
)
"""Addresses, and HTML's names of characters (`&amp;`): with another word in them they are none."""
# A script has signs, too, that are no words: radicals, circled characters.
_WORD = regex.compile(
    rf"(?:{_KEPT})(*SKIP)(*FAIL)"
    rf"|(?=[\p{{L}}\p{{N}}]){CHARACTER}|{_LETTERS}(?:['’\-]{_LETTERS})*(?: [nN]['’][tT]\b)?",
    regex.V1,
)
_LONGEST_WORD = 200
_SPECIAL = re.compile(r"([\\.^$*+?{}\[\]()|/\-])")
_MARKS = (
    r"\x00-\x26\x28-\x2c\x2e\x2f:-@\[-`{-\x7f"  # all of ASCII's but the apostrophe and the hyphen
    "\u200b\u200e\u200f\u2028-\u202e\u2060\ufeff\ufffd…“”„«»。，、；：！？（）《》「」『』【】،؛؟।"
)
_ANY_SCRIPT = rf"[^\s{_MARKS}]{{1,20}}"
_ENDING = "('(s|t|d|m|ll|re|ve))?"
_LOWER = "[a-z]{1,14}" + _ENDING
_CAPITALISED = "[A-Z][a-z]{0,14}" + _ENDING
_SHOUTED = r"[A-Z]{1,14}"
_BEGINNING = '{"text": "'
_ANY_REPLY = r'\{"text": "([^"\\\x00-\x1f]|\\["\\nrt]|\\u00[2-7][0-9a-f])+"\}'
"""Any JSON string, with a prompt's escapes. Tokens bound its length: with a bound of 150 characters
xgrammar took 0.3 s for every token (Gemma's vocabulary, one CPU core), without one 0.01 ms."""


class EditReply(BaseModel):
    """The JSON reply that every request asks for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str


@dataclass(frozen=True)
class Span:
    """A half-open range of characters of a text."""

    start: int
    end: int


@dataclass(frozen=True)
class EditConstraint:
    """The pattern that a reply must match, and how to put the edited part back into the text."""

    pattern: str
    begun: str
    """How every reply begins: up to the first editable word, without the space before it."""
    before: str
    window: str
    after: str
    marked: str
    """The window with the editable words in [brackets], for prompts that say what to change."""
    blanked: str
    """The window with ___ in the place of the editable words, for prompts that are filled in."""
    keeps_space: bool = False
    """Whether white space at both ends of the window stays as it is: a free reply leaves it out."""

    def allows(self, reply: str) -> bool:
        """Whether a reply is what the pattern describes."""
        return re.fullmatch(self.pattern, reply) is not None

    def splice(self, edited: str) -> str:
        """The whole text with its window replaced by `edited`."""
        if self.keeps_space:
            space, _, more = self.window.partition(self.window.strip() or self.window)
            edited = space + edited.strip() + more
        return self.before + edited + self.after


def words(text: str) -> list[Span]:
    """The words of a text; "do n't", as tokenised texts have it, is one as it is elsewhere.

    What is longer than any word, such as encoded data, is none: it would be a window of its own.
    Nor are the parts of an address, or of one of HTML's names of characters.
    """
    spans = (Span(match.start(), match.end()) for match in _WORD.finditer(text))
    return [span for span in spans if span.end - span.start <= _LONGEST_WORD]


def parse_reply(reply: str) -> str:
    """The `text` of a JSON reply.

    Raises:
        ValueError: the reply is not that JSON object, and nothing else.

    """
    try:
        return EditReply.model_validate_json(reply).text
    except ValidationError as error:
        raise ValueError(str(error.errors()[0]["msg"])) from error


def within_reach(text: str, spans: Sequence[Span], longest: int = LONGEST_WINDOW) -> list[Span]:
    """The first span, and those of the others that fit into one window with it, in order."""
    if len(text) <= longest:
        return list(spans)
    kept: list[Span] = []
    for span in spans:
        both = [*kept, span]
        extent = max(one.end for one in both) - min(one.start for one in both)
        if not kept or extent <= longest // 2:
            kept.append(span)
    return kept


def rewrite_constraint(
    text: str, around: Span | None, longest: int = LONGEST_WINDOW
) -> EditConstraint:
    """Let everything change; of a text over the `longest` window, the sentences around a span."""
    place = around or Span(0, 1)
    left, right = sentences_around(text, place.start, place.end, longest)
    window = text[left:right]
    return EditConstraint(
        pattern=_ANY_REPLY,
        begun=_BEGINNING,
        before=text[:left],
        window=window,
        after=text[right:],
        marked=window,
        blanked=window,
        keeps_space=window != text,
    )


def edit_constraint(
    text: str,
    spans: Sequence[Span],
    extra_words: int = 1,
    most: int | None = None,
    longest: int = LONGEST_WINDOW,
) -> EditConstraint:
    """Let the given words of `text` change, each run of them by up to `extra_words` more.

    Neighbouring spans join into one slot, which may hold one word up to (words in it +
    `extra_words`), or up to `most` words if that is given and not fewer than it has. With extra
    words allowed, a slot may also vanish together with the space before it, if there is one.
    Of a text over the `longest` window only the sentences around the spans are repeated.

    Raises:
        ValueError: no spans, or spans that overlap or lie outside the text.

    """
    slots = [
        _Slot(
            slot,
            _slot_pattern(text, slot, max(most, count) if most else count + extra_words),
            extra_words > 0,
        )
        for slot, count in _join_neighbours(text, spans)
    ]
    return _compose(text, slots, longest)


def choice_constraint(
    text: str, choices: Sequence[tuple[Span, Sequence[str]]], longest: int = LONGEST_WINDOW
) -> EditConstraint:
    """Put one of some words or phrases in the place of each of some words of `text`.

    A choice of "" drops the word, together with the space before it if there is one.

    Raises:
        ValueError: no spans or no choices, or spans that overlap or lie outside the text.

    """
    ordered = sorted(choices, key=lambda pair: pair[0].start)
    _check_spans(text, [span for span, _ in ordered])
    slots = []
    for span, phrases in ordered:
        if not phrases:
            raise ValueError(f"{span} has nothing to choose from")
        some = "|".join(_quote(phrase) for phrase in phrases if phrase)
        slots.append(_Slot(span, f"({some})" if some else "", "" in phrases))
    return _compose(text, slots, longest)


@dataclass(frozen=True)
class _Slot:
    """A place that may change, the pattern of what it may hold, and whether it may vanish.

    Without a pattern it vanishes.
    """

    span: Span
    pattern: str
    may_vanish: bool


def _compose(text: str, slots: Sequence[_Slot], longest: int) -> EditConstraint:
    """The constraint in which everything but the slots, in order, is literal."""
    left, right = sentences_around(text, slots[0].span.start, slots[-1].span.end, longest)
    pattern, marked, blanked, at = [], [], [], left
    for slot in slots:
        literal = text[at : slot.span.start]
        if literal.endswith(" "):
            pattern.append(_quote(literal[:-1]))
            if slot.pattern:
                pattern.append(f"( {slot.pattern})?" if slot.may_vanish else f" {slot.pattern}")
        else:
            pattern.append(_quote(literal) + slot.pattern)
        marked += [literal, "[", text[slot.span.start : slot.span.end], "]"]
        blanked += [literal, "___"]
        at = slot.span.end
    tail = text[at:right]
    pattern.append(_quote(tail))
    return EditConstraint(
        pattern=r'\{"text": "' + "".join(pattern) + r'"\}',
        begun=_BEGINNING + quoted(text[left : slots[0].span.start].removesuffix(" "))[1:-1],
        before=text[:left],
        window=text[left:right],
        after=text[right:],
        marked="".join([*marked, tail]),
        blanked="".join([*blanked, tail]),
    )


def _check_spans(text: str, ordered: Sequence[Span]) -> None:
    if not ordered:
        raise ValueError("an edit constraint needs at least one span")
    end = 0
    for span in ordered:
        if not 0 <= span.start < span.end <= len(text):
            raise ValueError(f"{span} lies outside the text")
        if span.start < end:
            raise ValueError(f"{span} overlaps the one before it")
        end = span.end


def _join_neighbours(text: str, spans: Sequence[Span]) -> list[tuple[Span, int]]:
    ordered = sorted(spans, key=lambda span: span.start)
    _check_spans(text, ordered)
    slots: list[tuple[Span, int]] = []
    for span in ordered:
        if slots and text[slots[-1][0].end : span.start] == " ":
            first, count = slots[-1]
            slots[-1] = (Span(first.start, span.end), count + 1)
        else:
            slots.append((span, 1))
    return slots


def _slot_pattern(text: str, slot: Span, most: int) -> str:
    old = text[slot.start : slot.end]
    if (alike := characters_like(old)) and " " not in old:  # each character is a word
        return f"[{alike}]{{1,{len(old) - 1 + most}}}"
    first, later = _word_patterns(text, slot)
    return first if most == 1 else f"{first}( {later}){{0,{most - 1}}}"


def _word_patterns(text: str, slot: Span) -> tuple[str, str]:
    """The first word of a slot and those after it, in the script and case of what was there.

    Letters only, so that a word can't leave its slot.
    """
    if has_other_letters(text):
        return _ANY_SCRIPT, _ANY_SCRIPT
    old = text[slot.start : slot.end].split(" ")
    end = slot.start + len(old[0])
    first = _english_word(text, slot.start, end)
    if len(old) > 1:
        return first, _english_word(text, end + 1, end + 1 + len(old[1]))
    return first, first if first == _SHOUTED else _LOWER


def _english_word(text: str, start: int, end: int) -> str:
    if is_shouted(text[start:end]):
        return _SHOUTED
    return _CAPITALISED if is_capitalised(text, start, end) else _LOWER


def _quote(text: str) -> str:
    """A literal of the encoded JSON string, quoted for the regular expression."""
    return _SPECIAL.sub(r"\\\1", json.dumps(text, ensure_ascii=False)[1:-1])
