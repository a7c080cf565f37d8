"""The seam between candidate search and whatever generates text.

An engine answers one `Request` with `count` replies, says what may fill a `Blank`, and scores plain
texts. Adding an engine means one module with these coroutines and one branch in
`codlocal.pipeline.opening`.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as row_dataclass

from codlocal.core.errors import EngineError
from codlocal.core.records import Fluency

_STRICT = ConfigDict(extra="forbid")

DIGITS = 4
"""Of the log-probabilities that are kept, of which a text or a place has hundreds."""


@row_dataclass(frozen=True, config=_STRICT)
class Sampling:
    """How tokens are drawn. `max_tokens` bounds one reply; `seed` makes every request's."""

    temperature: float = 0.7
    top_p: float = 0.95
    max_tokens: int = 256
    seed: int = 0


@dataclass(frozen=True)
class Request:
    """One prompt, how many replies, the seed of the first, and what all of them must match.

    The constraint is a regular expression.
    """

    id: str
    prompt: str
    constraint: str
    count: int
    seed: int
    sampling: Sampling


@row_dataclass(frozen=True, config=_STRICT)
class Reply:
    """One reply. `finish_reason` is "stop" for a whole reply, "length" for a cut one."""

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int


NO_REPLY = "no reply"
"""The finish reason of a reply that was asked for, and did not come."""
_REFUSED = "refused: "


def refusal(why: str) -> str:
    """The finish reason of what an engine refuses to answer."""
    return _REFUSED + why


def is_failure(finish_reason: str) -> bool:
    """Whether an engine gave no answer, so that it may give one when it is asked again."""
    return finish_reason == NO_REPLY or finish_reason.startswith(_REFUSED)


MOST_PROPOSALS = 300
"""Next tokens that are asked for at once; a server has to be told how many these may be."""


@dataclass(frozen=True)
class Blank:
    """A prompt and how the reply to it begins: what comes next? `count` bounds the answers."""

    prompt: str
    begun: str
    count: int = MOST_PROPOSALS


@row_dataclass(frozen=True, config=_STRICT)
class Proposals:
    """The likeliest next tokens, likeliest first, each with its log-probability in nats.

    `finish_reason` is "stop", or why there are none.
    """

    tokens: tuple[tuple[str, float], ...]
    prompt_tokens: int
    finish_reason: str = "stop"


class Engine(Protocol):
    """Anything that answers constrained requests."""

    async def generate(self, request: Request) -> list[Reply]:
        """Return `request.count` replies.

        Raises:
            EngineError: the engine is gone, or refuses the request.

        """
        ...

    async def propose(self, blank: Blank) -> Proposals:
        """Return the likeliest next tokens of a reply, without any constraint.

        Raises:
            EngineError: the engine is gone.

        """
        ...

    async def score(self, text: str) -> Fluency:
        """Return the log-probability per token of a text, without prompt and constraint.

        Raises:
            EngineError: the engine is gone, or its numbers overflow.

        """
        ...

    async def aclose(self) -> None:
        """Release connections."""
        ...


def fluency(
    log_probabilities: Sequence[float], token_ids: Sequence[int] = (), generated: int = 0
) -> Fluency:
    """Summarise log-probabilities per token; a text without a scored token counts as certain.

    `token_ids` are those tokens, and `generated` ones were the price.

    Raises:
        EngineError: one of them is no finite number.

    """
    if not math.isfinite(sum(log_probabilities)):
        raise _overflow("log-probability of a text")
    if not log_probabilities:
        return Fluency(mean=0.0, worst=0.0, tokens=0, generated=generated)
    return Fluency(
        mean=sum(log_probabilities) / len(log_probabilities),
        worst=min(log_probabilities),
        tokens=len(log_probabilities),
        generated=generated,
        token_ids=tuple(token_ids),
        log_probabilities=tuple(round(one, DIGITS) for one in log_probabilities),
    )


def proposals(tokens: Iterable[tuple[str, float]], prompt_tokens: int) -> Proposals:
    """Next tokens without the impossible ones, whose log-probability is minus infinity.

    Raises:
        EngineError: one of them is no number.

    """
    found = tuple(tokens)
    if any(math.isnan(value) for _, value in found):
        raise _overflow("log-probability of a next token")
    return Proposals(tuple(one for one in found if math.isfinite(one[1])), prompt_tokens)


def _overflow(what: str) -> EngineError:
    return EngineError(
        f"The generator gives no finite number as the {what}.",
        "Its numbers overflow, as they may with float16: --set runtime.dtype=float32. A server of "
        "your own has to be started with --dtype float32.",
    )
