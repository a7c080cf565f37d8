"""What a server's answers must look like: read strictly, so that a wrong one is a clear error.

A proxy, another kind of server or a broken one may say anything with status 200. An answer that
lacks what was asked for would otherwise pass as "nothing found", in silence.
"""

from typing import TypeVar

from pydantic import BaseModel, Field, NonNegativeInt, ValidationError, field_validator

from codlocal.core.errors import EngineError


class Usage(BaseModel):
    """Tokens of a request."""

    prompt_tokens: NonNegativeInt
    completion_tokens: NonNegativeInt


class Message(BaseModel):
    """What a reply says."""

    content: str | None = None


class Written(BaseModel):
    """One reply to a chat message."""

    message: Message
    finish_reason: str


class Chat(BaseModel):
    """The replies to a chat message."""

    choices: list[Written]
    usage: Usage | None = None


class Token(BaseModel):
    """A token that may come next."""

    token: str
    logprob: float


class Position(BaseModel):
    """A token of a reply, with those that might have stood there."""

    top_logprobs: list[Token] = Field(min_length=1)


class Positions(BaseModel):
    """The tokens of a reply."""

    content: list[Position] = Field(min_length=1)


class Continued(BaseModel):
    """How a reply that has begun goes on."""

    logprobs: Positions


class Continuation(BaseModel):
    """The answer to a reply that has begun."""

    choices: list[Continued] = Field(min_length=1)
    usage: Usage | None = None


class Logged(BaseModel):
    """What a token of a prompt is logged with."""

    logprob: float


class Read(BaseModel):
    """A prompt's tokens, each under its id; the first one has nothing to follow from.

    A text of a single token has that one alone, and so no score: that is a whole answer.
    """

    prompt_logprobs: list[dict[int, Logged] | None] = Field(min_length=1)

    @field_validator("prompt_logprobs")
    @classmethod
    def _no_gaps(cls, positions: list[dict[int, Logged] | None]) -> list[dict[int, Logged] | None]:
        if not all(positions[1:]):
            raise ValueError("a token has no log-probability")
        return positions

    @property
    def log_probabilities(self) -> list[float]:
        """Of all tokens but the first."""
        return [logged.logprob for _, logged in self._scored]

    @property
    def token_ids(self) -> list[int]:
        """Of the same tokens."""
        return [token for token, _ in self._scored]

    @property
    def _scored(self) -> list[tuple[int, Logged]]:
        # The actual token's entry is the only one, as no alternatives are asked for.
        known = (position for position in self.prompt_logprobs[1:] if position)
        return [next(iter(position.items())) for position in known]


class Reading(BaseModel):
    """The answer to a text that is to be scored."""

    choices: list[Read] = Field(min_length=1)
    usage: Usage | None = None


AnswerT = TypeVar("AnswerT", bound=BaseModel)


def read(kind: type[AnswerT], body: bytes, url: str) -> AnswerT:
    """Read the body of an answer.

    Raises:
        EngineError: it is not what was asked for.

    """
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        beginning = body[:80].decode("utf-8", "replace")
        raise unusable(url, f"{place}: {first['msg']}. It begins with {beginning!r}.") from error


def unusable(url: str, reason: str) -> EngineError:
    """What is said of an answer that is none to what was asked, or has no end."""
    return EngineError(
        f"The server at {url} gives an answer that can't be used: {reason}",
        "Is it a vLLM server of version 0.12 or newer, and is there nothing between that "
        "changes its answers? Rows so far are kept: run the same command again to go on.",
    )
