"""The cost of compiling an edit constraint, by the size of its window and its slots."""

import json
import statistics
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from codlocal.generation.constraint import edit_constraint, words

SIZES = (50, 100, 200, 400)
"""Characters of the window."""
SLOTS = (1, 2, 4)
_EACH = 5


def compile_times(python: Path, model: Path, texts: Iterable[str]) -> list[dict[str, Any]]:
    """Median seconds of xgrammar and guidance for each size of window and number of slots.

    Args:
        python: the engine's interpreter.
        model: the generator, for its tokenizer.
        texts: real texts; they are joined and cut to size.

    """
    done = subprocess.run(
        [str(python), str(Path(__file__).with_name("compiling.py")), str(model)],
        input=json.dumps(_patterns(" ".join(texts))),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    rows = json.loads(done.stdout)
    return [_median(rows, size, slots) for size in SIZES for slots in SLOTS]


def _patterns(text: str) -> list[dict[str, Any]]:
    rows = []
    for size in SIZES:
        for number in range(_EACH):
            window = text[number * 400 : number * 400 + size].strip()
            spans = words(window)
            for slots in SLOTS:
                chosen = spans[:: max(len(spans) // slots, 1)][:slots]
                pattern = edit_constraint(window, chosen).pattern
                rows.append({"characters": size, "slots": slots, "pattern": pattern})
    return rows


def _median(rows: list[dict[str, Any]], size: int, slots: int) -> dict[str, Any]:
    chosen = [row for row in rows if (row["characters"], row["slots"]) == (size, slots)]
    return {
        "characters": size,
        "slots": slots,
        "xgrammar_seconds": statistics.median(row["xgrammar"] for row in chosen),
        "guidance_seconds": statistics.median(row["guidance"] for row in chosen),
    }
