"""The token budget of a run: which of a round's requests are still asked."""

from collections.abc import Sequence

from codlocal.generation.known import Spent
from codlocal.generation.plan import Planned

_TOKENS_PER_CHARACTER = 1 / 3
"""Of English under a subword vocabulary, until the rounds before have shown the real share."""

_ENVELOPE = len('{"text": ""}')


def affordable(
    planned: Sequence[Planned], spent: Spent, max_tokens: int | None
) -> Sequence[Planned]:
    """The first requests of a round whose expected tokens fit into what is left.

    A reply is about as long as the window that it repeats. `spent` is what the rounds before have
    cost, so that a resumed run admits the same requests; the bound is kept in expectation, not to
    the token.
    """
    if max_tokens is None:
        return planned
    rate = spent.tokens / spent.characters if spent.tokens else _TOKENS_PER_CHARACTER
    left = float(max_tokens - spent.tokens)
    for at, plan in enumerate(planned):
        left -= plan.request.count * (len(plan.constraint.window) + _ENVELOPE) * rate
        if left < 0:
            return planned[:at]
    return planned
