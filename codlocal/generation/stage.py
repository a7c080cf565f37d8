"""The generate stage: originals in, candidates with verdicts out, resumable reply by reply."""

import asyncio
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from codlocal.core import artifacts, jsonl
from codlocal.core.console import Console, Task
from codlocal.core.errors import RunError
from codlocal.core.records import Candidate, Example, Original, Teacher, Verdict
from codlocal.core.run import RunFolder
from codlocal.generation import prompts
from codlocal.generation.engines.engine import Engine
from codlocal.generation.funnel import Funnel
from codlocal.generation.history import Alike, Goal
from codlocal.generation.known import Spent
from codlocal.generation.results import Results, count_results, open_results, sort_results
from codlocal.generation.search import Hooks, Limits, Search, score_all
from codlocal.generation.shards import SHARD, Shards, open_shards

FlipTest = Callable[[Verdict, Original], bool]


@dataclass(frozen=True)
class Verification:
    """What the search needs to know of the verify stage.

    `judge` gives verdicts on candidates of some examples; `learn` turns the scored originals into
    two tests, one that a flip must pass to become a pair, and one to end the search for its
    original; `unusable` tells of a text whether it can be no counterfactual, even so; `alike` tells
    whether of two edits of a text (first) only one is taken.
    """

    judge: Callable[[Mapping[str, Example], Sequence[Candidate]], list[Verdict]]
    learn: Callable[[Iterable[Original]], tuple[FlipTest, FlipTest]]
    unusable: Callable[[str], bool]
    alike: Alike


def run_generate(
    run: RunFolder,
    open_engine: Callable[[], AbstractContextManager[Engine]],
    teacher: Teacher,
    verification: Verification,
    console: Console,
    shard_size: int = SHARD,
) -> None:
    """Write originals.jsonl, candidates.jsonl and verdicts.jsonl.

    The engine is closed before this returns. What can be wrong with the prompt is found out before
    it is asked anything. All originals are scored first, then shard by shard is searched.

    Raises:
        ConfigError: the prompt can't be used, or the teacher has no gradients to attribute by.
        RunError: the prompt was changed since the first candidate was written.
        EngineError: the engine can't be started, ignores constraints, or died.

    """
    if run.is_done("generate"):
        return
    config = run.config.generator
    template = prompts.of_run(run, artifacts.read_spec(run))
    _refuse_changed_prompt(run, template)
    with run.stage("generate") as facts:
        # Before the engine is opened, which may know better what model it is.
        asked = {"model": config.model, "engine": config.engine}
        run.note("generate", **asked, prompt=template.path.name, prompt_sha256=template.sha256)
        with open_shards(run, teacher, template, shard_size, console) as shards:
            tasks = _ask_teacher(shards, console)
            _warn_of_an_unsure_teacher(shards, console)
            with open_engine() as engine:
                asyncio.run(_generate(engine, shards, verification, console))
        sort_results(run)
        rounds = list(config.rounds[: config.max_rounds])
        facts.update(count_results(run), rounds=rounds, tasks=tasks)


def _refuse_changed_prompt(run: RunFolder, template: prompts.PromptTemplate) -> None:
    """A run keeps a copy of its prompt: candidates of two prompts are never mixed."""
    kept = run.file(prompts.COPY)
    if kept.exists() and prompts.PromptTemplate(kept).text != template.text:
        raise RunError(
            f"The prompt {template.path} is no longer the one that the run began with ({kept}).",
            "Put it back as it was, or add --redo generate to begin anew.",
        )


def _ask_teacher(shards: Shards, console: Console) -> int:
    """Have the teacher say where to edit before the engine takes the device; count the tasks.

    Edits are sought if all tasks need them.
    """
    first, count = shards.run.config.generator.rounds[0], 0
    with console.progress("Asking the teacher where to edit", 0) as progress:
        for shard in shards:
            readings = shards.readings(shard)
            count += len(readings)
            progress.grow(len(readings))
            for task in shards.tasks(readings):
                if first == "lexical":
                    shards.planner.edits(task)
                progress.advance(1)
    return count


def _warn_of_an_unsure_teacher(shards: Shards, console: Console) -> None:
    """Tell of a teacher that is nearer to knowing nothing than to being sure."""
    read = [shard.probabilities for shard in shards]
    if not read:
        return
    confidence = float(np.concatenate(read).max(axis=1).mean())
    chance = 1 / read[0].shape[1]
    if confidence < (1 + chance) / 2:
        console.warn(
            f"The teacher is unsure: it gives the labels that it chooses {confidence:.2f} on "
            f"average, and knowing nothing is {chance:.2f}. Its flips and soft labels say little. "
            "If it was fine-tuned here, more teacher.epochs or training texts may help."
        )


async def _generate(
    engine: Engine, shards: Shards, verification: Verification, console: Console
) -> None:
    run = shards.run
    try:
        with open_results(run) as results:
            with console.progress("Scoring the originals", len(shards.ids)) as task:
                await _score(engine, shards, results, task)
            jsonl.write_text(run.file(prompts.COPY), shards.planner.template.text)
            with console.progress("Generating", 0) as progress:
                await _search(engine, shards, results, verification, progress)
    finally:
        await engine.aclose()


async def _score(engine: Engine, shards: Shards, results: Results, task: Task) -> None:
    """Keep the originals as teacher and generator see them: the yardstick for fluency."""
    for shard in shards:
        kept = results.scored(shard)
        if len(kept) == len(shard.examples):
            task.advance(len(kept))
            continue
        texts = [example.text for example in shard.examples]
        at_once = shards.run.config.runtime.concurrency
        scores = await score_all(engine, texts, at_once, task.advance)
        rows = (
            Original(
                example_id=example.id,
                probabilities=tuple(float(value) for value in row),
                label=int(row.argmax()),
                fluency=score,
            )
            for example, row, score in zip(shard.examples, shard.probabilities, scores, strict=True)
        )
        results.originals.extend([row for row in rows if row.example_id not in kept])


async def _search(
    engine: Engine,
    shards: Shards,
    results: Results,
    verification: Verification,
    progress: Task,
) -> None:
    """Search shard by shard; the tokens that one has cost are missing in the next one's budget."""
    good, enough = verification.learn(results.all_scored())
    funnel = Funnel(progress, len(shards.ids), good)
    settings, hooks = shards.run.config.generator, _hooks(results, funnel)
    wanted, spent, begun = shards.run.config.verification.per_example, Spent(), 0
    for shard in shards:
        tasks = list(shards.tasks(shards.readings(shard)))
        originals, known = results.scored(shard), results.known(shard)
        funnel.begin(originals, known)
        begun += len(shard.examples)
        flips = math.ceil(wanted * len(shard.examples) / len(tasks))
        ends = _ends_the_search(originals, verification.unusable, enough)
        search = Search(
            engine=engine,
            teacher=shards.teacher,
            judge=partial(verification.judge, {example.id: example for example in shard.examples}),
            planner=replace(shards.planner, others=tasks),
            goal=Goal(ends, flips, verification.alike, settings.targets != "runner-up"),
            hooks=hooks,
            known=known,
            limits=_limits(shards, begun, spent),
            earlier=results.earlier(shard),
            yardsticks={one: row.fluency for one, row in originals.items() if row.fluency},
        )
        await search.run(tasks, settings.rounds[: settings.max_rounds])
        spent += Spent.on(known.candidates.values(), known.verdicts)


def _ends_the_search(
    originals: Mapping[str, Original], unusable: Callable[[str], bool], enough: FlipTest
) -> Callable[[Candidate, Verdict], bool]:
    """Whether a flip is good enough, and of a text that can be used; whatever its label."""

    def ends(row: Candidate, verdict: Verdict) -> bool:
        return enough(verdict, originals[row.example_id]) and not unusable(row.text or "")

    return ends


def _hooks(results: Results, funnel: Funnel) -> Hooks:
    """Keep all rows, and count them; add up the seconds of every round in the manifest."""

    def keep_candidates(rows: Sequence[Candidate]) -> None:
        results.candidates.extend(rows)
        funnel.candidates(rows)

    def keep_verdicts(rows: Sequence[Verdict]) -> None:
        results.verdicts.extend(rows)
        funnel.verdicts(rows)

    def keep_seconds(number: int, seconds: float) -> None:
        name, known = f"round {number + 1}", results.run.facts("generate").get("round_seconds", {})
        total = round(known.get(name, 0.0) + seconds, 3)
        results.run.note("generate", round_seconds={**known, name: total})

    return Hooks(keep_candidates, keep_verdicts, funnel.progress.grow, keep_seconds)


def _limits(shards: Shards, begun: int, spent: Spent) -> Limits:
    """What a shard may do.

    The budget is shared out evenly: `begun` originals have their share, and what one shard leaves
    is the next one's.
    """
    config = shards.run.config
    most = config.generator.max_tokens
    return Limits(
        config.runtime.concurrency,
        max_tokens=None if most is None else most * begun // len(shards.ids),
        spent=spent,
    )
