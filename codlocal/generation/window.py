"""The part of a long text that is shown and may change: the sentences around a place."""

import re

import regex
from rapidfuzz.distance import Postfix, Prefix

from codlocal.core.scripts import CHARACTER

LONGEST_WINDOW = 400
"""Characters of text that a reply repeats at most; the rest of a long text is kept out of it.

Compiling costs little by length and much by open slots: xgrammar took 0.1 s for 80 words with one
slot, 0.4 s with four and 5 s for 160 words with 16, on a busy CPU core; llguidance 0.05 s for 1,000
words with 16. A choice of 2,000 words took 0.06 s.
"""
_ENGLISH, _DENSE = 4, 3
"""Characters of a token of English, and of fewer than which a text is dense with tokens."""
_BREAK = regex.compile(rf" |{CHARACTER}")
_SENTENCE_END = re.compile(r"(?<![.!?…。！？])[.!?…。！？]+[\"')\]]*\s+|[。！？]+[」』”]*|\n+")


def longest_window(text: str, tokens: int) -> int:
    """How many characters of a text are shown at most, if it has so many tokens.

    Not every tokenizer knows every script. Of a text that is not ASCII and dense with tokens as
    many are shown as the longest window of English has: else prompts would outgrow the context.
    """
    if text.isascii() or len(text) >= _DENSE * tokens:
        return LONGEST_WINDOW
    return LONGEST_WINDOW * len(text) // (_ENGLISH * tokens)


def sentences_around(text: str, first: int, last: int, longest: int) -> tuple[int, int]:
    """The sentences around text[first:last], if the text is too long to be repeated whole.

    Where a sentence is longer than the `longest` window, that ends between words.
    """
    if len(text) <= longest:
        return 0, len(text)
    cuts = [0, *(match.end() for match in _SENTENCE_END.finditer(text)), len(text)]
    left = max(cut for cut in cuts if cut <= first)
    right = min(cut for cut in cuts if cut >= last)
    margin = max((longest - (last - first)) // 2, 0)
    if first - left > margin:
        left = next((gap.end() for gap in _BREAK.finditer(text, first - margin, first)), first)
    if right - last > margin:
        right = max(
            (gap.start() for gap in _BREAK.finditer(text, last, last + margin)), default=last
        )
    return left, right


def edited_part(text: str, edited: str, longest: int = LONGEST_WINDOW) -> str:
    """An edited text as far as a prompt shows it: of a long one, where it first changed."""
    same = int(Prefix.similarity(text, edited))
    rest = int(Postfix.similarity(text[same:], edited[same:]))
    last = max(same, min(len(edited) - rest, same + longest // 2))
    left, right = sentences_around(edited, same, last, longest)
    return edited[left:right]
