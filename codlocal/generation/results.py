"""The rows that the generate stage leaves: originals, candidates and verdicts."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from codlocal.core import artifacts, jsonl
from codlocal.core.keyed_rows import KeyedRows, sort_rows
from codlocal.core.records import Candidate, Original, Verdict
from codlocal.core.run import RunFolder
from codlocal.generation.known import Known, candidate_key, verdict_key
from codlocal.generation.shards import Shard

_ORIGINALS, _CANDIDATES, _VERDICTS = "originals.jsonl", "candidates.jsonl", "verdicts.jsonl"


@dataclass(frozen=True)
class Results:
    """The row files of a run, open for reading and writing, and those of earlier rounds."""

    run: RunFolder
    originals: KeyedRows[Original]
    candidates: KeyedRows[Candidate]
    verdicts: KeyedRows[Verdict]
    earlier_candidates: KeyedRows[Candidate]
    earlier_verdicts: KeyedRows[Verdict]

    def scored(self, shard: Shard) -> dict[str, Original]:
        """The originals of a shard that have been scored, by id."""
        found = (self.originals.get(one) for one in shard.ids)
        return {row.example_id: row for row in found if row is not None}

    def all_scored(self) -> Iterator[Original]:
        """All originals that have been scored, in their order."""
        return jsonl.read_rows(self.originals.path, Original)

    def known(self, shard: Shard) -> Known:
        """What this search has learned of a shard before it was interrupted."""
        return Known.read(self.candidates, self.verdicts, shard.ids)

    def earlier(self, shard: Shard) -> Known:
        """What the searches of earlier distillation rounds have tried with a shard."""
        return Known.read(self.earlier_candidates, self.earlier_verdicts, shard.ids)


@contextmanager
def open_results(run: RunFolder) -> Iterator[Results]:
    """Open the row files of a run; those that are missing are made by their first row.

    Raises:
        RunError: one of them is damaged.

    """
    with ExitStack() as files:

        def candidates(*parts: str) -> KeyedRows[Candidate]:
            return files.enter_context(KeyedRows(run.file(*parts), Candidate, candidate_key))

        def verdicts(*parts: str) -> KeyedRows[Verdict]:
            return files.enter_context(KeyedRows(run.file(*parts), Verdict, verdict_key))

        originals = KeyedRows(run.file(_ORIGINALS), Original, lambda row: row.example_id)
        yield Results(
            run,
            files.enter_context(originals),
            candidates(_CANDIDATES),
            verdicts(_VERDICTS),
            candidates(*artifacts.EARLIER_CANDIDATES),
            verdicts(*artifacts.EARLIER_VERDICTS),
        )


def sort_results(run: RunFolder) -> None:
    """Put candidates and verdicts in the order of their ids.

    Replies come in any order; a finished run is a function of its settings alone.
    """
    sort_rows(run.file(_CANDIDATES), Candidate, lambda row: row.id)
    sort_rows(run.file(_VERDICTS), Verdict, lambda row: row.candidate_id)


def count_results(run: RunFolder) -> dict[str, int]:
    """How many originals, candidates, failures, flips and generated tokens a run's files have.

    The tokens are those of candidates: their replies, places and scores, not the originals' scores.
    """
    names = ("originals", "candidates", "failed", "flips", "completion_tokens")
    counts = dict.fromkeys(names, 0)
    for _ in jsonl.read_rows(run.file(_ORIGINALS), Original):
        counts["originals"] += 1
    for row in jsonl.read_rows(run.file(_CANDIDATES), Candidate):
        counts["candidates"] += 1
        counts["failed"] += row.text is None
        counts["completion_tokens"] += row.completion_tokens
    for verdict in jsonl.read_rows(run.file(_VERDICTS), Verdict):
        counts["flips"] += verdict.flipped
        counts["completion_tokens"] += verdict.scoring_tokens
    return counts
