"""The generate stage: originals in, candidates with verdicts out, resumable reply by reply."""

import asyncio
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

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
from codlocal.generation import prompts
from codlocal.generation.engines.engine import Engine, Sampling
from codlocal.generation.history import Known
from codlocal.generation.lexicon import Lexicon
from codlocal.generation.plan import Planner
from codlocal.generation.search import Hooks, Judge, Limits, Search, score_all
from codlocal.generation.targets import choose_targets, confusion_matrix
from codlocal.generation.task import Task
from codlocal.generation.tasks import EditFinder, build_tasks

_PROMPT = "prompt.jinja"
_CONFUSION_TEXTS = 2000
"""Training texts by which confused labels are found."""


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
        ConfigError: the prompt can't be used, or the teacher has no gradients to attribute by.
        RunError: the prompt was changed since the first candidate was written.
        EngineError: the engine can't be started, ignores constraints, or died.

    """
    if run.is_done("generate"):
        return
    config = run.config.generator
    spec = artifacts.read_spec(run)
    template = prompts.load(spec.task, config.prompt)
    _refuse_changed_prompt(run, template)
    with run.stage("generate") as facts:
        facts.update(model=config.model, engine=config.engine, prompt=template.path.name)
        facts["prompt_sha256"] = template.sha256
        plan = _prepare(run, teacher, template)
        rounds = config.rounds[: config.max_rounds]
        for strategy in rounds:
            plan.planner.plan(plan.tasks[0], 0, strategy)
        if rounds[0] == "lexical":
            _find_edits(plan, console)
        with open_engine() as engine:
            asyncio.run(_search(run, engine, plan, verification, console))
        # Replies come in any order; a finished run is a function of its settings alone.
        sort_rows(run.file("candidates.jsonl"), Candidate, lambda row: row.id)
        sort_rows(run.file("verdicts.jsonl"), Verdict, lambda row: row.candidate_id)
        facts.update(_facts(plan.known), rounds=list(rounds), tasks=len(plan.tasks))


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
    examples: Sequence[Example]
    probabilities: npt.NDArray[np.float64]
    tasks: Sequence[Task]
    known: Known


def _prepare(run: RunFolder, teacher: Teacher, template: prompts.PromptTemplate) -> _Plan:
    """Ask the teacher what to flip into what, and where."""
    config, spec = run.config.generator, artifacts.read_spec(run)
    examples = artifacts.originals(run)
    corpus = [example.text for example in artifacts.read_examples(run, "train").values()]
    probabilities = teacher.predict_proba([example.text for example in examples])
    targets = choose_targets(config.targets, probabilities, _confusion(run, teacher, corpus))
    labels = probabilities.argmax(axis=1)
    readings = [
        (example, int(label), target)
        for example, label, wanted in zip(examples, labels, targets, strict=True)
        for target in wanted
    ]
    lexicon = Lexicon(teacher, corpus, len(spec.label_names))
    kept = run.file("attributions.jsonl")
    known = Known.read(run.file("candidates.jsonl"), run.file("verdicts.jsonl"))
    tasks = build_tasks(teacher, lexicon, readings, config.attribution, kept)
    planner = Planner(
        template=template,
        label_names=[name.replace("_", " ") for name in spec.label_names],
        candidates=config.candidates,
        sampling=Sampling(config.temperature, config.top_p, config.reply_tokens, seed=config.seed),
        fill=config.prompting == "completion",
        others=tasks,
        edits=EditFinder(teacher, lexicon, run.file("edits.jsonl")),
        most=config.max_candidates,
    )
    return _Plan(planner, examples, probabilities, tasks, known)


def _find_edits(plan: _Plan, console: Console) -> None:
    """Have the teacher search before the engine takes the device, where all tasks need it."""
    with console.progress("Asking the teacher where to edit", len(plan.tasks)) as progress:
        for task in plan.tasks:
            plan.planner.edits(task)
            progress.advance(1)


def _confusion(
    run: RunFolder, teacher: Teacher, corpus: Sequence[str]
) -> npt.NDArray[np.float64] | None:
    """Which labels are confused, on texts spread evenly over the training split."""
    config = run.config.generator
    if config.targets != "confusion":
        return None
    texts = corpus[:: -(-len(corpus) // _CONFUSION_TEXTS)]
    probabilities = teacher.predict_proba(texts)
    labels = [int(label) for label in probabilities.argmax(axis=1)]
    if config.confused_student:
        probabilities = _student(run, Path(config.confused_student)).predict_proba(texts)
    return confusion_matrix(labels, probabilities)


def _student(run: RunFolder, folder: Path) -> Teacher:
    from codlocal.models.classifier import Classifier

    return Classifier.load(
        folder,
        device=run.config.runtime.device,
        dtype=run.config.runtime.dtype,
        max_length=run.config.distillation.max_length,
        label_names=artifacts.read_spec(run).label_names,
    )


async def _search(
    run: RunFolder,
    engine: Engine,
    plan: _Plan,
    verification: Verification,
    console: Console,
) -> None:
    earlier = Known.read(
        run.file(*artifacts.EARLIER_CANDIDATES), run.file(*artifacts.EARLIER_VERDICTS)
    )
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
                _limits(run, plan), earlier,
            )  # fmt: skip
            settings = run.config.generator
            await search.run(plan.tasks, settings.rounds[: settings.max_rounds])
    finally:
        await engine.aclose()


def _limits(run: RunFolder, plan: _Plan) -> Limits:
    settings = run.config.generator
    return Limits(
        run.config.runtime.concurrency,
        settings.max_tokens,
        exact_targets=settings.targets != "runner-up",
        flips=math.ceil(run.config.verification.per_example * len(plan.examples) / len(plan.tasks)),
    )


async def _originals(run: RunFolder, engine: Engine, plan: _Plan) -> dict[str, Original]:
    """The originals as teacher and generator see them: the yardstick for fluency."""
    path = run.file("originals.jsonl")
    if not path.exists():
        texts = [example.text for example in plan.examples]
        scores = await score_all(engine, texts, run.config.runtime.concurrency)
        rows = [
            Original(
                example_id=example.id,
                probabilities=tuple(float(value) for value in row),
                label=int(row.argmax()),
                fluency=score,
            )
            for example, row, score in zip(plan.examples, plan.probabilities, scores, strict=True)
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
