"""Counterfactuals that people wrote, read by the teacher of a run, and by its generator."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from codlocal.core.console import Console
from codlocal.core.records import Fluency
from codlocal.core.run import RunFolder
from codlocal.generation.engines.engine import Engine
from codlocal.verification.measures import Measures
from codlocal.verification.reference import judged, measure_pairs, read_pairs, scored


def written(run: RunFolder, path: Path, console: Console, *, perplexity: bool = False) -> Measures:
    """Measure a file of pairs under the run's teacher.

    Args:
        run: has a teacher, and a generator.
        path: of the pairs.
        console: shows what is being done.
        perplexity: whether the generator is started to score the flips and their originals.

    Raises:
        DataError: the file is missing, or is no file of pairs.
        EngineError: the generator can't be started.
        RunError: the run has no teacher yet, or its generator was another one.
        ModelError: the teacher is gone or was changed, or the generator is gone.

    """
    from codlocal.models.devices import limit_threads
    from codlocal.models.teacher import load_teacher

    pairs = read_pairs(path)
    limit_threads(run.config.runtime.threads)
    teacher = load_teacher(run)
    with console.progress("Asking the teacher", len(pairs)) as task:
        evidence = judged(pairs, teacher)
        task.advance(len(pairs))
    if perplexity:
        evidence = scored(evidence, lambda texts: _scores(run, texts, console))
    return measure_pairs(evidence)


def _scores(run: RunFolder, texts: Sequence[str], console: Console) -> list[Fluency]:
    from codlocal.generation.search import score_all
    from codlocal.pipeline.opening import scorer

    async def work(engine: Engine) -> list[Fluency]:
        try:
            return await score_all(engine, texts, run.config.runtime.concurrency, task.advance)
        finally:
            await engine.aclose()

    with console.progress("Scoring the texts", len(texts)) as task:
        return asyncio.run(work(scorer(run, console)))
