"""Recombined texts: cuts of a student's own texts, joined at random.

Nobody labels them, and nobody would write them; but a teacher says something of any input, and a
student that is to decide like it can learn that too. Sequences of words without sense are enough to
copy a classifier (Krishna et al., ICLR 2020, "Thieves on Sesame Street!", arXiv 1910.12366).
"""

import random
from collections.abc import Sequence

import regex

from codlocal.core.scripts import CHARACTER, UNSPACED

_SPACE = r"\s\x1c-\x1f"
"""As `str.strip` has it: regex does not count the separators among control characters."""
_WORD = regex.compile(rf"(?:{CHARACTER}|[^{_SPACE}{UNSPACED}]+)[{_SPACE}]*")
_CUTS = 2


def recombine(texts: Sequence[str], count: int, seed: int) -> list[str]:
    """Make `count` texts, each of two runs of words from two texts drawn at random.

    Every length of a run is as likely as any other, up to the whole text. Where words have spaces
    between them they are taken whole.

    Args:
        texts: at least one, none of them blank.
        count: how many to make.
        seed: the same seed makes the same texts.

    """
    rng = random.Random(f"recombine/{seed}")  # noqa: S311
    words = [_WORD.findall(text) for text in texts]
    return [
        " ".join("".join(_cut(rng.choice(words), rng)).strip() for _ in range(_CUTS))
        for _ in range(count)
    ]


def _cut(words: Sequence[str], rng: random.Random) -> Sequence[str]:
    length = rng.randint(1, len(words))
    start = rng.randint(0, len(words) - length)
    return words[start : start + length]
