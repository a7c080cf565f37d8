"""The constraint canary: asks for something that only a constrained engine can answer.

Some servers ignore an unknown constraint and answer 200 with free text, so a constraint is
trusted only after it was seen to bind.
"""

import re

from codlocal.core.errors import EngineError
from codlocal.generation.engines.engine import (
    NO_REPLY,
    Engine,
    Reply,
    Request,
    Sampling,
    is_failure,
)

_PATTERN = r'\{"text": "zq[0-9]{3}\-(alpha|omega)"\}'
_PROMPT = "Write one friendly English sentence about the weather."
_NEEDED = "It needs vLLM 0.12 or newer with structured outputs enabled."
_BASE_MODEL = (
    "A base model has no chat template: add --set generator.prompting=completion. A server of your "
    "own has to be started with a template that passes prompts on, as `codlocal serve` does then."
)


async def check(engine: Engine) -> None:
    """Make sure that the engine obeys a regular expression.

    Raises:
        EngineError: it ignores a constraint, refuses the request, or can't answer at all.

    """
    sampling = Sampling(temperature=0.0, top_p=1.0, max_tokens=64)
    replies = await engine.generate(Request("canary", _PROMPT, _PATTERN, 1, 0, sampling))
    reply = replies[0] if replies else Reply("", NO_REPLY, 0, 0)
    if is_failure(reply.finish_reason):
        raise _unanswered(reply.finish_reason)
    if not re.fullmatch(_PATTERN, reply.text):
        ended = f"{reply.text[:80]!r} ({reply.finish_reason})"
        raise EngineError(f"The engine ignores constraints: it answered {ended}.", _NEEDED)


def _unanswered(reason: str) -> EngineError:
    hint = _BASE_MODEL if "chat template" in reason else _NEEDED
    return EngineError(f"The engine did not answer a request that tests it ({reason}).", hint)
