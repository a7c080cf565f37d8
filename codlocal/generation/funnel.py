"""The live counts of a search: originals -> candidates -> flips -> pairs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from codlocal.core.console import Task as Progress
from codlocal.core.records import Candidate, Original, Verdict
from codlocal.generation.known import Known


@dataclass
class Funnel:
    """Counts over all shards; only the solved originals of one shard are held by name."""

    progress: Progress
    total: int
    good: Callable[[Verdict, Original], bool]
    _originals: Mapping[str, Original] = field(default_factory=dict)
    _solved: set[str] = field(default_factory=set)
    _flips: int = 0
    _pairs: int = 0

    def begin(self, originals: Mapping[str, Original], known: Known) -> None:
        """Go on with other originals, of which some rows may be known."""
        self._originals = originals
        self._solved = set()
        self.progress.grow(len(known.candidates))
        self.candidates(list(known.candidates.values()))
        self.verdicts(list(known.verdicts.values()))

    def candidates(self, rows: Sequence[Candidate]) -> None:
        """Count new candidates."""
        self.progress.advance(len(rows))

    def verdicts(self, rows: Sequence[Verdict]) -> None:
        """Count new flips, and originals that have their first good one."""
        for row in rows:
            self._flips += row.flipped
            known = row.example_id in self._solved
            if not known and self.good(row, self._originals[row.example_id]):
                self._solved.add(row.example_id)
                self._pairs += 1
        self.progress.note(originals=self.total, flips=self._flips, pairs=self._pairs)
