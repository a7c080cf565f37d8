"""Scripts that are written without spaces between words.

Where words begin there is a question of meaning, which needs a dictionary; one character, with its
marks, counts as a word.
"""

from unicodedata import combining, name

import regex

UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}ー\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
"""Their characters, for a set of the regex module."""
CHARACTER = rf"[{UNSPACED}]\p{{M}}*"
"""One of them, as a pattern."""
_BEGINNING = regex.compile(CHARACTER)
_JAPANESE = {"HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "CJK"}
_BLOCKS = ("぀-ヿ㐀-䶿一-鿿", "ก-๎", "ກ-ໟ", "ក-៓", "က-၏")


def has_other_letters(text: str) -> bool:
    """Whether a text has letters that English has not, or marks that are written on letters."""
    return any(not one.isascii() and (one.isalpha() or combining(one)) for one in text)


def same_letters(word: str, old: str, text: str) -> bool:
    """Whether a word's letters are of the alphabets of the word that it replaces.

    In the place of a number they are of those of the text, if that has any.
    """
    known = _alphabets(old) or _alphabets(text)
    return not known or _alphabets(word) <= known


def _alphabets(word: str) -> set[str]:
    """What Unicode's names of its letters begin with: LATIN, CYRILLIC, CJK."""
    if word.isascii():
        return {"LATIN"} if any(map(str.isalpha, word)) else set()
    found = {name(one, "").split(" ")[0] for one in word if one.isalpha()}
    return {"CJK" if one in _JAPANESE else one for one in found}


def is_unspaced(word: str) -> bool:
    """Whether a word is written without spaces around it."""
    return _BEGINNING.match(word) is not None


def characters_like(word: str) -> str:
    """The characters that may replace a word of such a script, as a set in a pattern, else "".

    They are named by their code points: not every engine of grammars knows the names of scripts.
    """
    if not is_unspaced(word):
        return ""
    return next((block for block in _BLOCKS if regex.match(f"[{block}]", word)), _BLOCKS[0])
