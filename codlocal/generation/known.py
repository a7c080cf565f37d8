"""What a search has learned of some originals, and what that has cost."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from codlocal.core.keyed_rows import KeyedRows
from codlocal.core.records import Candidate, Verdict


def candidate_key(row: Candidate) -> str:
    """What a candidate is found by: the keys of one original's rows begin with its id."""
    return f"{row.example_id}/{row.id}"


def verdict_key(row: Verdict) -> str:
    """What a verdict is found by, as its candidate is."""
    return f"{row.example_id}/{row.candidate_id}"


@dataclass
class Known:
    """Candidates and their verdicts, by candidate id."""

    candidates: dict[str, Candidate] = field(default_factory=dict)
    verdicts: dict[str, Verdict] = field(default_factory=dict)

    @classmethod
    def read(
        cls,
        candidates: KeyedRows[Candidate],
        verdicts: KeyedRows[Verdict],
        originals: Iterable[str],
    ) -> "Known":
        """Look up what two files have of some originals."""
        known = cls()
        for one in originals:
            known.candidates.update(
                (row.id, row)
                for row in candidates.starting_with(f"{one}/")
                if row.example_id == one  # the ids of what is made of a candidate begin so, too
            )
            known.verdicts.update(
                (row.candidate_id, row)
                for row in verdicts.starting_with(f"{one}/")
                if row.candidate_id in known.candidates
            )
        return known


@dataclass(frozen=True)
class Spent:
    """What rows have cost: generated tokens in all, scores included, and those of written replies.

    `characters` are what the `written` tokens made. Words that fill places are tokens, too, but no
    reply is made of them.
    """

    tokens: int = 0
    written: int = 0
    characters: int = 0

    @classmethod
    def on(cls, rows: Collection[Candidate], verdicts: Mapping[str, Verdict]) -> "Spent":
        """What some rows have cost, and the scores in their verdicts, which are found by id."""
        judged = (verdicts[row.id] for row in rows if row.id in verdicts)
        scoring = sum(verdict.scoring_tokens for verdict in judged)
        replies = [row for row in rows if row.reply]
        return cls(
            tokens=scoring + sum(row.completion_tokens for row in rows),
            written=sum(row.completion_tokens for row in replies),
            characters=sum(len(row.reply) for row in replies),
        )

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(
            self.tokens + other.tokens,
            self.written + other.written,
            self.characters + other.characters,
        )
