"""What a round asks about one task: a constrained request, or places to fill."""

from collections.abc import Sequence
from dataclasses import dataclass

from codlocal.core.records import Candidate
from codlocal.core.sections import Strategy
from codlocal.generation.constraint import EditConstraint, Span
from codlocal.generation.engines.engine import Blank, Request
from codlocal.generation.task import Task


@dataclass(frozen=True)
class _Part:
    """A part of a round for one task: `count` candidates, of which the first is `first_index`."""

    task: Task
    round: int
    strategy: Strategy
    first_index: int
    count: int

    def candidate_id(self, offset: int) -> str:
        """The id of one of the candidates: example, target, round and index."""
        example, target = self.task.key
        return f"{example}/{target}/{self.round}/{self.first_index + offset}"

    def candidate(self, offset: int, text: str | None, failure: str | None) -> Candidate:
        """The row of one of the candidates: its text, or why it has none."""
        return Candidate(
            id=self.candidate_id(offset),
            example_id=self.task.example.id,
            round=self.round,
            strategy=self.strategy,
            source_label=self.task.source_label,
            target_label=self.task.target_label,
            text=text,
            failure=failure,
        )

    @property
    def candidate_ids(self) -> list[str]:
        """The ids of all of them, in order."""
        return [self.candidate_id(offset) for offset in range(self.count)]


@dataclass(frozen=True)
class PlannedRequest(_Part):
    """A request, and what is needed to turn its replies into candidates."""

    request: Request
    constraint: EditConstraint


@dataclass(frozen=True)
class Place:
    """A word of a text that another may replace, and how the generator is asked for others.

    `spaced`: a space comes first, where the generator is asked.
    """

    span: Span
    blank: Blank
    spaced: bool


@dataclass(frozen=True)
class PlannedInfill(_Part):
    """Places that may be filled, and texts that were tried before.

    `pool` texts are found, of which the `count` likeliest ones are taken. With `combining`, half
    of the pool changes several places, even if enough texts flip by one word. `apart`: "do n't" is
    how the data has it.
    """

    places: Sequence[Place]
    pool: int
    tried: frozenset[str]
    combining: bool
    apart: bool


Planned = PlannedRequest | PlannedInfill
