"""The constraint canary: asks for something that only a constrained engine can answer.

Some servers ignore an unknown constraint and answer 200 with free text, so a constraint is
trusted only after it was seen to bind.
"""

import re

from codlocal.core.errors import EngineError
from codlocal.generation.constraint import EditReply, parse_reply
from codlocal.generation.engines.engine import NO_REPLY, Engine, Reply, Request, Sampling

_PATTERN = r'\{"text": "zq[0-9]{3}\-(alpha|omega)"\}'
_PROMPT = "Write one friendly English sentence about the weather."


async def check(engine: Engine) -> None:
    """Make sure that the engine obeys a regular expression and a JSON type.

    Raises:
        EngineError: it ignores a constraint, or can't answer at all.

    """
    sampling = Sampling(temperature=0.0, top_p=1.0, max_tokens=64)
    reply = await _ask(engine, Request("canary-regex", _PROMPT, _PATTERN, 1, 0, sampling))
    if not re.fullmatch(_PATTERN, reply.text):
        raise _ignored("regular expression", reply)
    reply = await _ask(engine, Request("canary-json", _PROMPT, EditReply, 1, 0, sampling))
    if not _is_start_of_json(reply.text, reply.finish_reason):
        raise _ignored("JSON schema", reply)


async def _ask(engine: Engine, request: Request) -> Reply:
    replies = await engine.generate(request)
    return replies[0] if replies else Reply("", NO_REPLY, 0, 0)


def _is_start_of_json(text: str, finish_reason: str) -> bool:
    if finish_reason == "length":
        # Engines may allow any white space between the parts, and small models get lost in it.
        return re.match(r'\s*\{\s*("|$)', text) is not None
    try:
        parse_reply(text)
    except ValueError:
        return False
    return True


def _ignored(kind: str, reply: Reply) -> EngineError:
    return EngineError(
        f"The engine ignores constraints: asked for a {kind}, it answered {reply.text[:80]!r} "
        f"({reply.finish_reason}).",
        "It needs vLLM 0.12 or newer with structured outputs enabled.",
    )
