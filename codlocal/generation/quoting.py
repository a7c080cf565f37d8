"""The data as data: how a text stands in what a generator reads."""

import json
import re

_CONTROL = re.compile(r"<(?=[^\s<>]+>)")


def quoted(text: str) -> str:
    """A text as a JSON string, in which no tokenizer finds a control token."""
    return _CONTROL.sub(r"\\u003c", json.dumps(text, ensure_ascii=False))
