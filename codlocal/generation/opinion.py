"""The generator's own opinion of a flip: which of two labels it would give to the text.

The teacher alone verifies a flip, and can be fooled: by a word that says nothing where it stands,
or by a text of which only half was turned around. A language model that is shown labelled texts is
a second witness, which knows nothing of the teacher (in-context classification, Brown et al. 2020).
"""

import math
from collections.abc import Sequence

from codlocal.generation.engines.engine import Blank, Proposals
from codlocal.generation.prompts import Demonstration
from codlocal.generation.quoting import quoted

_BEGINNING = 'Label: "'
_PROPOSALS = 20
"""Next tokens to find the labels among: as many as every server gives."""


def question(text: str, shown: Sequence[Demonstration], label: str, other: str) -> Blank | None:
    """Ask which of two labels a text has, after some that are labelled.

    The text comes last, so that all questions about edits of one original share what is before it.
    What both labels begin with is said already. None if one of them is how the other begins: what
    comes next then speaks for both.
    """
    if label.startswith(other) or other.startswith(label):
        return None
    examples = "".join(f'Text: {quoted(one.text)}\n{_BEGINNING}{one.label}"\n\n' for one in shown)
    begun = f"{_BEGINNING}{_shared(label, other)}".rstrip()
    return Blank(f"{examples}Text: {quoted(text)}\n", begun, _PROPOSALS)


def log_odds(answer: Proposals, label: str, other: str) -> float | None:
    """By how many nats a label is likelier to come next than the other.

    A label is known by its next token, unless the other goes on in the same way. One that is not
    among the proposals counts for as likely as the last of them; None if neither is.
    """
    said = len(_shared(label, other))
    left = [one[said:].lstrip() for one in (label, other)]
    found = [_mass(answer, *ends) for ends in (left, reversed(left))]
    if not any(found):
        return None
    least = math.exp(answer.tokens[-1][1])
    mine, others = (mass or least for mass in found)
    return math.log(mine / others)


def _shared(label: str, other: str) -> str:
    """What two labels begin with, up to the last place where both could begin a word."""
    letters = zip(label, other, strict=False)
    end = next(at for at, (mine, its) in enumerate(letters) if mine != its)
    while end and any(one[end - 1 : end + 1].isalpha() for one in (label, other)):
        end -= 1
    return label[:end]


def _mass(answer: Proposals, label: str, other: str) -> float:
    """The probability of the next tokens with which this label goes on, and not the other."""
    return sum(
        math.exp(value)
        for token, value in answer.tokens
        if token.strip() and label.startswith(token.strip()) and not other.startswith(token.strip())
    )
