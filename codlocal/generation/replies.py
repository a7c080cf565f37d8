"""Replies to rows: one candidate per reply that was asked for, usable or not."""

from collections.abc import Sequence

from codlocal.core.records import Candidate
from codlocal.generation.constraint import parse_reply
from codlocal.generation.engines.engine import Reply
from codlocal.generation.planned import PlannedRequest


def candidates_of(planned: PlannedRequest, replies: Sequence[Reply]) -> list[Candidate]:
    """One row per reply that was asked for, whether it is usable or not."""
    asked = replies[: planned.count]  # the ids of more belong to the next request
    return [_candidate(planned, offset, reply) for offset, reply in enumerate(asked)]


def _candidate(planned: PlannedRequest, offset: int, reply: Reply) -> Candidate:
    text, failure = _read(planned, reply)
    said = {
        "reply": reply.text,
        "finish_reason": reply.finish_reason,
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens,
    }
    return planned.candidate(offset, text, failure).model_copy(update=said)


def _read(planned: PlannedRequest, reply: Reply) -> tuple[str | None, str | None]:
    """The text of a reply, or why there is none."""
    if reply.finish_reason != "stop":
        return None, f"cut off ({reply.finish_reason or 'no finish reason'})"
    try:
        edited = parse_reply(reply.text)
    except ValueError as error:
        return None, f"not the JSON that was asked for ({error})"
    if not planned.constraint.allows(reply.text):
        return None, "outside the edit constraint"
    text = planned.constraint.splice(edited)
    if not text.strip():
        return None, "empty"
    if text == planned.task.example.text:
        return None, "a copy of the original"
    return text, None
