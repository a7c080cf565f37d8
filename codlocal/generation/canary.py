"""The constraint canary: asks for something that only a constrained engine can answer.

Some servers ignore an unknown constraint and answer 200 with free text, so a constraint is
trusted only after it was seen to bind.
"""

import re

from codlocal.core.errors import EngineError
from codlocal.generation.constraint import EditReply, parse_reply
from codlocal.generation.engine import Engine, Request, Sampling

_PATTERN = r'\{"text": "zq[0-9]{3}\-(alpha|omega)"\}'
_PROMPT = "Write one friendly English sentence about the weather."


async def check(engine: Engine) -> None:
    """Make sure that the engine obeys a regular expression and a JSON type.

    Raises:
        EngineError: it ignores a constraint, or can't answer at all.

    """
    sampling = Sampling(temperature=0.0, top_p=1.0, max_tokens=64)
    replies = await engine.generate(Request("canary-regex", _PROMPT, _PATTERN, 1, 0, sampling))
    if not replies or not re.fullmatch(_PATTERN, replies[0].text):
        raise _ignored("regular expression", replies[0].text if replies else "")
    replies = await engine.generate(Request("canary-json", _PROMPT, EditReply, 1, 0, sampling))
    if not replies or not _is_start_of_json(replies[0].text, replies[0].finish_reason):
        raise _ignored("JSON schema", replies[0].text if replies else "")


def _is_start_of_json(text: str, finish_reason: str) -> bool:
    if finish_reason == "length":
        # Engines may allow any white space between the parts, and small models get lost in it.
        return re.match(r'\s*\{\s*("|$)', text) is not None
    try:
        parse_reply(text)
    except ValueError:
        return False
    return True


def _ignored(kind: str, reply: str) -> EngineError:
    return EngineError(
        f"The engine ignores constraints: asked for a {kind}, it answered {reply[:80]!r}.",
        "It needs vLLM 0.12 or newer with structured outputs enabled.",
    )
