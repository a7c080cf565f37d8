"""The token budget of a run: which of a round's requests are still asked."""

import math
from collections.abc import Iterable, Iterator

from codlocal.generation.known import Spent
from codlocal.generation.planned import Planned, PlannedInfill

_TOKENS_PER_CHARACTER = 1 / 3
"""Of English under a subword vocabulary, until the rounds before have shown the real share."""

_ENVELOPE = len('{"text": ""}')


def affordable(
    planned: Iterable[Planned], spent: Spent, max_tokens: int | None
) -> Iterator[Planned]:
    """The first requests of a round whose expected tokens fit into what is left, as they come.

    A reply is about as long as the window that it repeats; the scores of flips come on top, and are
    seen afterwards. `spent` is what the rounds before have cost, so that a resumed run admits the
    same requests; the bound is kept in expectation, not to the token.
    """
    rate = spent.written / spent.characters if spent.characters else _TOKENS_PER_CHARACTER
    left = math.inf if max_tokens is None else float(max_tokens - spent.tokens)
    for plan in planned:
        left -= _expected(plan, rate)
        if left < 0:
            return
        yield plan


def _expected(plan: Planned, rate: float) -> float:
    """The tokens that a plan will cost: those of its replies, or one a place and a text to score.

    An engine in process scores for nothing; then the rounds after this one have what is left.
    """
    if isinstance(plan, PlannedInfill):
        return len(plan.places) + plan.pool
    return plan.count * (len(plan.constraint.window) + _ENVELOPE) * rate
