"""The generate stage: originals in, candidates with verdicts out, resumable reply by reply."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from codlocal.core import artifacts, jsonl
from codlocal.core.console import Console
from codlocal.core.console import Task as Progress
from codlocal.core.errors import RunError
from codlocal.core.keyed_rows import sort_rows
from codlocal.core.records import (
    Candidate,
    Example,
    Original,
    Teacher,
    Verdict,
)
from codlocal.core.run import RunFolder
from codlocal.generation import attribution, prompts
from codlocal.generation.engine import Engine, Sampling
from codlocal.generation.plan import Planner, Task
from codlocal.generation.search import Hooks, Judge, Known, Search, score_all

_PROMPT = "prompt.jinja"


@dataclass(frozen=True)
class Verification:
    """What the search needs to know of the verify stage.

    `judge` gives verdicts; `learn` turns the scored originals into the test that a flip must
    pass to end the search for its original.
    """

    judge: Judge
    learn: Callable[[Sequence[Original]], Callable[[Verdict, Original], bool]]


def run_generate(
    run: RunFolder,
    open_engine: Callable[[], AbstractContextManager[Engine]],
    teacher: Teacher,
    verification: Verification,
    console: Console,
) -> None:
    """Write originals.jsonl, candidates.jsonl and verdicts.jsonl.

    The engine is closed before this returns. What can be wrong with the prompt is found out before
    it is asked anything.

    Raises:
        ConfigError: the prompt can't be used.
        RunError: the prompt was changed since the first candidate was written.
        EngineError: the engine can't be started, ignores constraints, or died.

    """
    if run.is_done("generate"):
        return
    config = run.config.generator
    spec = artifacts.read_spec(run)
    template = prompts.load(spec.task, config.prompt)
    _refuse_changed_prompt(run, template)
    examples = artifacts.originals(run)
    with run.stage("generate") as facts:
        facts.update(model=config.model, engine=config.engine, prompt=template.path.name)
        facts["prompt_sha256"] = template.sha256
        corpus = [example.text for example in artifacts.read_examples(run, "train").values()]
        probes = attribution.probe_words(teacher, corpus, len(spec.label_names))
        tasks, probabilities = build_tasks(teacher, examples, probes)
        facts["probe_words"] = dict(zip(spec.label_names, probes, strict=True))
        planner = Planner(
            template=template,
            label_names=spec.label_names,
            candidates=config.candidates,
            sampling=Sampling(
                config.temperature, config.top_p, config.reply_tokens, seed=config.seed
            ),
            fill=config.prompting == "completion",
            others=tasks,
        )
        for strategy in config.rounds:
            planner.plan(tasks[0], 0, strategy)
        known = _known(run)
        with open_engine() as engine:
            work = _search(
                run, engine, _Plan(planner, tasks, probabilities, known), verification, console
            )
            asyncio.run(work)
        # Replies come in any order; a finished run is a function of its settings alone.
        sort_rows(run.file("candidates.jsonl"), Candidate, lambda row: row.id)
        sort_rows(run.file("verdicts.jsonl"), Verdict, lambda row: row.candidate_id)
        facts.update(_facts(known))


def _refuse_changed_prompt(run: RunFolder, template: prompts.PromptTemplate) -> None:
    """A run keeps a copy of its prompt: candidates of two prompts are never mixed."""
    kept = run.file(_PROMPT)
    if kept.exists() and prompts.PromptTemplate(kept).text != template.text:
        raise RunError(
            f"The prompt {template.path} is no longer the one that the run began with ({kept}).",
            "Put it back as it was, or add --redo generate to begin anew.",
        )


@dataclass(frozen=True)
class _Plan:
    planner: Planner
    tasks: Sequence[Task]
    probabilities: npt.NDArray[np.float64]
    known: Known


async def _search(
    run: RunFolder,
    engine: Engine,
    plan: _Plan,
    verification: Verification,
    console: Console,
) -> None:
    try:
        originals = await _originals(run, engine, plan)
        jsonl.write_text(run.file(_PROMPT), plan.planner.template.text)
        good = verification.learn(list(originals.values()))
        with (
            jsonl.RowWriter(run.file("candidates.jsonl")) as candidates,
            jsonl.RowWriter(run.file("verdicts.jsonl")) as verdicts,
            console.progress("Generating", 0) as progress,
        ):
            funnel = _Funnel(progress, originals, good)

            def keep_candidates(rows: Sequence[Candidate]) -> None:
                candidates.append(rows)
                funnel.candidates(rows)

            def keep_verdicts(rows: Sequence[Verdict]) -> None:
                verdicts.append(rows)
                funnel.verdicts(rows)

            hooks = Hooks(keep_candidates, keep_verdicts, progress.grow, good)
            funnel.candidates(list(plan.known.candidates.values()))
            funnel.verdicts(list(plan.known.verdicts.values()))
            search = Search(
                engine, verification.judge, plan.planner, originals, hooks, plan.known,
                run.config.runtime.concurrency,
            )  # fmt: skip
            await search.run(plan.tasks, run.config.generator.rounds)
    finally:
        await engine.aclose()


def build_tasks(
    teacher: Teacher, examples: Sequence[Example], probes: Sequence[Sequence[str]]
) -> tuple[list[Task], npt.NDArray[np.float64]]:
    """What to flip into what, and where: the label is the teacher's, the target its runner-up.

    A word is worth editing for what the label loses without it, plus what the target gains when
    a probe word stands in its place.

    Returns:
        One task per example, and the teacher's probabilities, shape [examples, classes].

    """
    probabilities = teacher.predict_proba([example.text for example in examples])
    ranked = np.argsort(-probabilities, axis=1, kind="stable")
    texts = [example.text for example in examples]
    losses = attribution.leave_one_out(teacher, texts, [int(row[0]) for row in ranked])
    gains = attribution.substitution(teacher, texts, [int(row[1]) for row in ranked], probes)
    tasks = [
        Task(example, int(order[0]), int(order[1]), loss + gain)
        for example, order, loss, gain in zip(examples, ranked, losses, gains, strict=True)
    ]
    return tasks, probabilities


def _known(run: RunFolder) -> Known:
    candidates = jsonl.read_rows(run.file("candidates.jsonl"), Candidate)
    verdicts = jsonl.read_rows(run.file("verdicts.jsonl"), Verdict)
    return Known(
        candidates={row.id: row for row in candidates},
        verdicts={row.candidate_id: row for row in verdicts},
    )


async def _originals(run: RunFolder, engine: Engine, plan: _Plan) -> dict[str, Original]:
    """The originals as teacher and generator see them: the yardstick for fluency."""
    path = run.file("originals.jsonl")
    if not path.exists():
        texts = [task.example.text for task in plan.tasks]
        scores = await score_all(engine, texts, run.config.runtime.concurrency)
        rows = [
            Original(
                example_id=task.example.id,
                probabilities=tuple(float(value) for value in row),
                label=task.source_label,
                fluency=score,
            )
            for task, row, score in zip(plan.tasks, plan.probabilities, scores, strict=True)
        ]
        jsonl.write_rows(path, rows)
    return {row.example_id: row for row in jsonl.read_rows(path, Original)}


@dataclass
class _Funnel:
    """The live counts: originals -> candidates -> flips -> pairs."""

    progress: Progress
    originals: dict[str, Original]
    good: Callable[[Verdict, Original], bool]
    _flips: int = 0
    _solved: set[str] = field(default_factory=set)

    def candidates(self, rows: Sequence[Candidate]) -> None:
        self.progress.advance(len(rows))

    def verdicts(self, rows: Sequence[Verdict]) -> None:
        for row in rows:
            self._flips += row.flipped
            if self.good(row, self.originals[row.example_id]):
                self._solved.add(row.example_id)
        self.progress.note(
            originals=len(self.originals), flips=self._flips, pairs=len(self._solved)
        )


def _facts(known: Known) -> dict[str, object]:
    rows = known.candidates.values()
    return {
        "candidates": len(rows),
        "failed": sum(row.text is None for row in rows),
        "flips": sum(verdict.flipped for verdict in known.verdicts.values()),
        "completion_tokens": sum(row.completion_tokens for row in rows),
    }
