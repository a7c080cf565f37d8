"""The case in which one word takes the place of another."""

import re

_PRONOUN = re.compile(r"I(['’][a-z]+)?")
"""Has a capital wherever it stands: what takes its place need not."""
_SENTENCE_ENDS = ".!?…\n"


def is_shouted(word: str) -> bool:
    """Whether all letters of a word are capitals, and there are several."""
    return len(word) > 1 and word.isupper()


def is_capitalised(text: str, start: int, end: int) -> bool:
    """Whether the word text[start:end] has its capital for its place or as a name."""
    if not text[start].isupper():
        return False
    return not _PRONOUN.fullmatch(text[start:end]) or _begins_sentence(text, start)


def in_case(phrase: str, text: str, start: int, end: int) -> str:
    """A phrase in the case of the word text[start:end], and of the text around it."""
    if text == text.lower():
        return phrase.lower()
    if is_shouted(text[start:end]):
        return phrase.upper()
    return phrase[:1].upper() + phrase[1:] if is_capitalised(text, start, end) else phrase


def _begins_sentence(text: str, start: int) -> bool:
    before = text[:start].rstrip(" \t\"'([“‘")
    return not before or before[-1] in _SENTENCE_ENDS
