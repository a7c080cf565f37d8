"""Candidate search: constrained requests in rounds, verified by the teacher while they run.

Every round asks only for the originals that still lack good flips. The teacher works in a thread
of its own, for the requests to come and on the replies the moment they arrive, so that generation
never waits for it.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from codlocal.core.records import Candidate, Fluency, Teacher, Verdict
from codlocal.core.sections import Strategy
from codlocal.generation.budget import affordable
from codlocal.generation.concurrency import all_or_none, each
from codlocal.generation.engines.engine import Engine
from codlocal.generation.history import Goal, history_of
from codlocal.generation.infill import best_first, filled, flipping_texts
from codlocal.generation.known import Known, Spent
from codlocal.generation.opinion import log_odds
from codlocal.generation.plan import Planner
from codlocal.generation.planned import Planned, PlannedInfill
from codlocal.generation.replies import candidates_of
from codlocal.generation.task import Task

Judge = Callable[[Sequence[Candidate]], list[Verdict]]
"""Gives one verdict per candidate that has a text, in order."""

_Result = TypeVar("_Result")

_COMPARED_AT_ONCE = 8
"""Texts of one original that the engine scores at the same time."""
_JUDGED_AT_ONCE = 16
"""Requests whose replies the teacher reads before the verdicts are written."""

_TOLD_EVERY = 5
"""Seconds between two news of how long a round has been running."""
_PLANNED_AHEAD = 1000
"""Plans, with their prompts, that wait for their turn to be asked."""


@dataclass(frozen=True)
class Hooks:
    """What the search hands out: rows to be kept, news for the progress display, and times.

    `on_round` gets a round's number and the seconds that passed since it was last told, every few
    seconds and at the end: a round that is killed has its time, too.
    """

    on_candidates: Callable[[Sequence[Candidate]], None]
    on_verdicts: Callable[[Sequence[Verdict]], None]
    on_requests: Callable[[int], None]
    on_round: Callable[[int, float], None]


@dataclass(frozen=True)
class Limits:
    """How much a search may do: plans and verdicts at a time, and generated tokens in all.

    `spent` is what searches before this one have cost; it counts toward `max_tokens`.
    """

    concurrency: int
    max_tokens: int | None = None
    spent: Spent = field(default_factory=Spent)


@dataclass(frozen=True)
class Search:
    """One search over a set of originals. Resumes from `known`, which it also fills.

    `earlier` is what a search before this one has tried of the same originals. `yardsticks` have
    the originals' own fluency, by id.
    """

    engine: Engine
    teacher: Teacher
    judge: Judge
    planner: Planner
    goal: Goal
    hooks: Hooks
    known: Known
    limits: Limits
    earlier: Known = field(default_factory=Known)
    yardsticks: Mapping[str, Fluency] = field(default_factory=dict)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _filling: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def run(self, tasks: Sequence[Task], rounds: Sequence[Strategy]) -> None:
        """Run the rounds over the tasks; the engine's errors pass through.

        What a round asks depends on the rounds before it alone. Rows of later rounds, which a
        resumed search knows already, don't count: it has to ask all that it would have asked
        undisturbed.
        """
        texts = {task.example.id: task.example.text for task in tasks}
        for number, strategy in enumerate(rounds):
            history = history_of(self.known, texts, self.goal, number, self.earlier)
            planned = (
                plan
                for task in tasks
                if task.key not in history.ended
                for plan in self.planner.plan(task, number, strategy, history)
            )
            spent = self.limits.spent + history.spent
            async with _timed(partial(self.hooks.on_round, number)):
                await self._round(affordable(planned, spent, self.limits.max_tokens))

    async def _round(self, planned: Iterator[Planned]) -> None:
        asked: asyncio.Queue[Planned | None] = asyncio.Queue(_PLANNED_AHEAD)
        unjudged: asyncio.Queue[Sequence[Candidate] | None] = asyncio.Queue()
        await all_or_none(
            self._plan_all(planned, asked, unjudged),
            self._ask_all(asked, unjudged),
            self._judge_all(unjudged),
        )

    async def _plan_all(
        self,
        planned: Iterator[Planned],
        asked: "asyncio.Queue[Planned | None]",
        unjudged: "asyncio.Queue[Sequence[Candidate] | None]",
    ) -> None:
        """Plan ahead of the requests: a plan may have the teacher search for edits first."""
        while (plan := await self._beside(next, planned, None)) is not None:
            known = self.known.candidates
            self.hooks.on_requests(sum(one not in known for one in plan.candidate_ids))
            waiting = [row for row in self._rows(plan) if row.id not in self.known.verdicts]
            unjudged.put_nowait([row for row in waiting if row.text is not None])
            if not self._is_answered(plan):
                await asked.put(plan)
        await asked.put(None)

    async def _beside(self, work: Callable[..., _Result], *given: object) -> _Result:
        """Have a thread do what takes the teacher; one thing at a time, in turn."""
        async with self._turn:
            return await asyncio.to_thread(work, *given)

    def _is_answered(self, plan: Planned) -> bool:
        return all(row_id in self.known.candidates for row_id in plan.candidate_ids)

    def _rows(self, plan: Planned) -> list[Candidate]:
        known = self.known.candidates
        return [known[row_id] for row_id in plan.candidate_ids if row_id in known]

    async def _ask_all(
        self,
        asked: "asyncio.Queue[Planned | None]",
        unjudged: "asyncio.Queue[Sequence[Candidate] | None]",
    ) -> None:
        """Keep up to `concurrency` requests in flight, then say that no more rows will come."""

        async def work() -> None:
            while (plan := await asked.get()) is not None:
                rows = await self._ask(plan)
                new = [row for row in rows if row.id not in self.known.candidates]
                self.hooks.on_candidates(new)
                self.known.candidates.update((row.id, row) for row in new)
                unjudged.put_nowait([row for row in new if row.text is not None])
            asked.put_nowait(None)  # for the next one to end, too

        await all_or_none(*(work() for _ in range(self.limits.concurrency)))
        unjudged.put_nowait(None)

    async def _ask(self, plan: Planned) -> list[Candidate]:
        """The candidates that a plan brings; the teacher chooses among what fills a place."""
        if isinstance(plan, PlannedInfill):
            return await self._fill(plan)
        return candidates_of(plan, await self.engine.generate(plan.request))

    async def _fill(self, plan: PlannedInfill) -> list[Candidate]:
        proposals = [await self.engine.propose(place.blank) for place in plan.places]
        async with self._filling:  # so that verdicts need not wait for all who want to fill
            found = await self._beside(flipping_texts, self.teacher, plan, proposals)
        texts, comparing = list(found), 0
        if len(texts) > plan.count:
            at_once = min(_COMPARED_AT_ONCE, self.limits.concurrency)
            scores = await score_all(self.engine, texts, at_once)
            known = dict(zip(texts, scores, strict=True))
            texts = best_first(plan, found, lambda text: known[text].total)
            # Those that are taken flip, so that their scores are in their verdicts.
            comparing = sum(known[text].generated for text in texts[plan.count :])
        return filled(plan, texts, proposals, comparing)

    async def _judge_all(self, unjudged: "asyncio.Queue[Sequence[Candidate] | None]") -> None:
        """Take whatever has arrived, up to a batch, and judge it, until None comes."""
        open_ended = True
        while open_ended:
            batch: list[Sequence[Candidate]] = []
            while not batch or not (unjudged.empty() or len(batch) >= _JUDGED_AT_ONCE):
                rows = await unjudged.get()
                if rows is None:
                    open_ended = False
                    break
                if rows:
                    batch.append(rows)
            if batch:
                await self._judge(batch)

    def _verdicts(self, batch: Sequence[Sequence[Candidate]]) -> list[Verdict]:
        """Show the teacher the replies of one request at a time.

        The last digits of a probability depend on what shares a batch, and what shares a batch
        must not depend on the order in which replies come.
        """
        return [verdict for rows in batch for verdict in self.judge(rows)]

    async def _judge(self, batch: Sequence[Sequence[Candidate]]) -> None:
        verdicts = await self._beside(self._verdicts, batch)
        rows = {row.id: row for rows in batch for row in rows}
        read = await each(partial(self._read, rows), verdicts, self.limits.concurrency)
        self.hooks.on_verdicts(read)
        self.known.verdicts.update((verdict.candidate_id, verdict) for verdict in read)

    async def _read(self, rows: Mapping[str, Candidate], verdict: Verdict) -> Verdict:
        """A verdict with what the generator says of a flip: of its language, then of its label."""
        if not verdict.flipped:
            return verdict
        row = rows[verdict.candidate_id]
        score = await self.engine.score(row.text or "")
        verdict = verdict.scored(score, self.yardsticks.get(row.example_id))
        if not self.goal.enough(row, verdict):
            return verdict
        question = self.planner.question(row, verdict.label)
        if question is None:
            return verdict
        names = self.planner.label_names
        answer = await self.engine.propose(question)
        opinion = log_odds(answer, names[verdict.label], names[row.source_label])
        return verdict.model_copy(update={"opinion": opinion, "opinion_tokens": 1})


@asynccontextmanager
async def _timed(tell: Callable[[float], None]) -> AsyncIterator[None]:
    """Tell how many seconds have passed, again and again, and in the end of those untold."""
    told = time.monotonic()

    def tell_since() -> None:
        nonlocal told
        now = time.monotonic()
        tell(now - told)
        told = now

    async def tick() -> None:
        while True:
            await asyncio.sleep(_TOLD_EVERY)
            tell_since()

    ticking = asyncio.create_task(tick())
    try:
        yield
    finally:
        ticking.cancel()
        tell_since()


async def score_all(
    engine: Engine,
    texts: Sequence[str],
    concurrency: int,
    on_score: Callable[[], None] = lambda: None,
) -> list[Fluency]:
    """Score texts, in order, with up to `concurrency` requests in flight.

    `on_score` is called after each one.
    """

    async def score(text: str) -> Fluency:
        score = await engine.score(text)
        on_score()
        return score

    return await each(score, texts, concurrency)
