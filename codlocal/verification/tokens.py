"""Words and marks, as verification counts them in any script."""

from collections import Counter

import regex

from codlocal.core.scripts import CHARACTER, UNSPACED

_ALL_LETTERS = r"\p{L}\p{N}\p{M}_"
_LETTERS = rf"[[{_ALL_LETTERS}]--[{UNSPACED}]]+"
_APART = r"(?: [nN]['’][tT]\b)?"
_TOKEN = regex.compile(
    rf"{CHARACTER}|{_LETTERS}(?:['’\-]{_LETTERS})*{_APART}|[^{_ALL_LETTERS}{UNSPACED}\s]", regex.V1
)
_LONGEST_REPETITION = 4
_WORD = regex.compile(rf"{CHARACTER}|{_LETTERS}(?:['’]{_LETTERS})*{_APART}", regex.V1)
_UNSPACED = regex.compile(CHARACTER)


def tokens(text: str) -> list[str]:
    """Split a text into words and punctuation marks.

    A character of a script without spaces is a word, and "do n't" as much of one as "don't".
    """
    found: list[str] = _TOKEN.findall(text)
    return found


def words(text: str) -> list[str]:
    """The words of a text without case; numbers are none, and a hyphen parts two."""
    found = _WORD.findall(text.casefold().replace("’", "'"))
    return [word for word in found if not any(map(str.isdigit, word))]


def repetitions(text: str) -> Counter[str]:
    """What a text says twice in a row, and how often: words, or runs of a few, in lower case.

    A doubled character of a script without spaces is a word, not a slip.
    """
    found = [token.casefold() for token in tokens(text)]
    return Counter(
        " ".join(found[at : at + size])
        for size in range(1, _LONGEST_REPETITION + 1)
        for at in range(len(found) - 2 * size + 1)
        if found[at : at + size] == found[at + size : at + 2 * size]
        and all(token[0].isalnum() for token in found[at : at + size])
        and not (size == 1 and _UNSPACED.fullmatch(found[at]))
    )
