"""How long xgrammar and llguidance take to compile edit constraints.

Run by the engine's interpreter, which has both, with a tokenizer's folder as its argument and a
JSON list of {"pattern": …} on standard input; writes the list with seconds on standard output.
It imports nothing of codlocal.
"""

import json
import sys
import time
from collections.abc import Callable

import llguidance
import llguidance.hf
import transformers
import xgrammar


def _xgrammar(tokenizer: transformers.PreTrainedTokenizerFast) -> Callable[[str], object]:
    info = xgrammar.TokenizerInfo.from_huggingface(tokenizer)
    compiler = xgrammar.GrammarCompiler(info, max_threads=8, cache_enabled=False)  # as vLLM does
    return lambda pattern: compiler.compile_regex(pattern)


def _guidance(tokenizer: transformers.PreTrainedTokenizerFast) -> Callable[[str], object]:
    tokens = llguidance.hf.from_tokenizer(tokenizer)

    def compile_and_mask(pattern: str) -> object:
        # It compiles lazily, so that the first mask belongs to the cost.
        grammar = llguidance.LLMatcher.grammar_from_regex(pattern)
        return llguidance.LLMatcher(tokens, grammar).compute_bitmask()

    return compile_and_mask


def _seconds(work: Callable[[str], object], pattern: str) -> float:
    begun = time.perf_counter()
    work(pattern)
    return time.perf_counter() - begun


def main() -> None:
    """Time every pattern on both."""
    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(sys.argv[1])
    backends = {"xgrammar": _xgrammar(tokenizer), "guidance": _guidance(tokenizer)}
    for work in backends.values():
        work(r'\{"text": "warm( up)?"\}')
    rows = [
        {**row, **{name: _seconds(work, row["pattern"]) for name, work in backends.items()}}
        for row in json.load(sys.stdin)
    ]
    json.dump(rows, sys.stdout)


if __name__ == "__main__":
    main()
