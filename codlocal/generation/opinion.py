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


def question(text: str, shown: Sequence[Demonstration]) -> Blank:
    """Ask for the label of a text after some that are labelled.

    The text comes last, so that all questions about edits of one original share what is before it.
    """
    examples = "".join(f'Text: {quoted(one.text)}\n{_BEGINNING}{one.label}"\n\n' for one in shown)
    return Blank(f"{examples}Text: {quoted(text)}\n", _BEGINNING, _PROPOSALS)


def log_odds(answer: Proposals, label: str, other: str) -> float | None:
    """By how many nats a label is likelier to come next than the other.

    A label is known by its first token, unless the other begins in the same way. One that is not
    among the proposals counts for as likely as the last of them; None if neither is.
    """
    found = [_mass(answer, *names) for names in ((label, other), (other, label))]
    if not any(found):
        return None
    least = math.exp(answer.tokens[-1][1])
    mine, others = (mass or least for mass in found)
    return math.log(mine / others)


def _mass(answer: Proposals, label: str, other: str) -> float:
    """The probability of the next tokens with which this label begins, and not the other."""
    return sum(
        math.exp(value)
        for token, value in answer.tokens
        if token.strip() and label.startswith(token.strip()) and not other.startswith(token.strip())
    )
