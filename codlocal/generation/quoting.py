"""The data as data: how a text stands in what a generator reads."""

import json
import re

_CONTROL = re.compile(
    r"<(?=[^\s<>]+>)"
    r"|\[(?=(/[A-Z_]+|[A-Z]+(_[A-Z]+)+|INST|IMG|ARGS|THINK|AUDIO|PREFIX|MIDDLE|SUFFIX|TRANSCRIBE"
    r"|[gs]?MASK|CLS|SEP|PAD|UNK|BOS|EOS)\])"
)
"""How a control token begins. Prompts have the words to be changed in [brackets], too: so of single
words only those count that are tokens of a known tokenizer."""


def quoted(text: str) -> str:
    """A text as a JSON string, in which no tokenizer finds a control token."""
    return _CONTROL.sub(
        lambda found: f"\\u{ord(found[0]):04x}", json.dumps(text, ensure_ascii=False)
    )


def quoted_name(name: str) -> str:
    """A label's name as a template has it between quotes of its own, or without any."""
    return quoted(name)[1:-1]
