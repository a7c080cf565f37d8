"""Runs of codlocal against one real server: how fast it asks, and what its tokens yield."""

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.bare_client import requests_per_second
from codlocal.core import jsonl
from codlocal.core.config import Config
from codlocal.core.console import Console
from codlocal.core.records import Candidate, Verdict
from codlocal.core.run import RunFolder
from codlocal.generation.engines.engine import Engine
from codlocal.generation.engines.recording import (
    STORE,
    Exchange,
    Generator,
    Question,
    Recorder,
    store_at,
)
from codlocal.generation.engines.server import VllmServer
from codlocal.generation.engines.vllm_engine import VllmEngine
from codlocal.generation.stage import run_generate
from codlocal.models.teacher import load_teacher
from codlocal.pipeline.session import Session, verification_of

_BENCH = Generator(name="bench", engine="vllm", prompting="completion", weights="bench")


@dataclass(frozen=True)
class Bench:
    """One server, and the settings and folder of the runs that ask it."""

    server: VllmServer
    prefix: str
    config: Config
    folder: Path

    def generate(self, name: str, config: Config | None = None) -> "Outcome":
        """Generate and verify in a run folder, and time the engine's part; a done run is read."""
        console = Console(-1)
        with RunFolder.open(self.folder / name, config or self.config) as run:
            session = Session(run, console)
            session.advance("teacher")
            teacher, clock = load_teacher(run), _Clock()
            run_generate(
                run,
                lambda: self._open(run, clock),
                teacher,
                verification_of(run, teacher),
                console,
            )
            session.advance("verify")
            return Outcome.of(run, clock.seconds)

    @contextmanager
    def _open(self, run: RunFolder, clock: "_Clock") -> Iterator[Engine]:
        server = self.server
        engine = VllmEngine(server.url, server.key, server.model_name, scoring_prefix=self.prefix)
        with store_at(run.file(STORE)) as store, clock:
            yield Recorder(engine, store, _BENCH, run.config.runtime.concurrency)


class _Clock:
    """Measures from the opening of the engine to its end."""

    seconds = 0.0

    def __enter__(self) -> None:
        self._begun = time.monotonic()

    def __exit__(self, *_error: object) -> None:
        self.seconds = time.monotonic() - self._begun


@dataclass(frozen=True)
class Outcome:
    """What a run asked, how long that took, and what came of it.

    `flipped` counts originals with a flip of any kind, `pairs` those whose flip passes the gates.
    """

    questions: list[Question]
    seconds: float
    tokens: int
    flipped: int
    pairs: int

    @classmethod
    def of(cls, run: RunFolder, seconds: float) -> "Outcome":
        """Read a run that was verified."""
        candidates = jsonl.read_rows(run.file("candidates.jsonl"), Candidate)
        verdicts = list(jsonl.read_rows(run.file("verdicts.jsonl"), Verdict))
        scoring = sum(row.scoring_tokens for row in verdicts)
        return cls(
            questions=[row.question for row in jsonl.read_rows(run.file(STORE), Exchange)],
            seconds=seconds,
            tokens=scoring + sum(row.completion_tokens for row in candidates),
            flipped=len({row.example_id for row in verdicts if row.flipped}),
            pairs=run.facts("verify")["pairs"],
        )

    def per_thousand_tokens(self) -> dict[str, float]:
        """Originals with a flip, and pairs, for 1,000 generated tokens."""
        thousands = self.tokens / 1000
        return {"any_flip": self.flipped / thousands, "pairs": self.pairs / thousands}


def throughput(bench: Bench) -> dict[str, Any]:
    """Requests per second of codlocal and of a bare client that sends the same requests.

    A first run, which is not timed, fills the server's prefix cache; codlocal then runs between
    two passes of the bare client.
    """
    questions = bench.generate("warm-up").questions
    server, concurrency = bench.server, bench.config.runtime.concurrency

    def bare() -> float:
        place = (server.url, server.key, server.model_name)
        return requests_per_second(*place, questions, concurrency)

    before = bare()
    ours = bench.generate("timed")
    after = bare()
    rate, bare_rate = len(ours.questions) / ours.seconds, statistics.mean([before, after])
    return {
        "requests": len(questions),
        "codlocal_per_second": rate,
        "bare_per_second": [before, after],
        "ratio": rate / bare_rate,
    }


def efficiency(bench: Bench) -> dict[str, Any]:
    """Verified flips for 1,000 tokens: the guided search, and plain best-of-n free rewrites."""
    plain_config = bench.config.model_copy(
        update={
            "generator": bench.config.generator.model_copy(update={"rounds": ("free",)}),
            "verification": bench.config.verification.model_copy(update={"min_pairs": 0}),
        }
    )
    plain = bench.generate("best-of-n", plain_config).per_thousand_tokens()
    guided = bench.generate("timed").per_thousand_tokens()
    ratios = {name: guided[name] / plain[name] if plain[name] else None for name in guided}
    return {"best_of_n": plain, "codlocal": guided, "ratio": ratios}
