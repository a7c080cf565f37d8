"""What the counterfactuals of a run are worth: flips, closeness, fluency, diversity, cost.

The measures are those of the counterfactual literature, with the run's teacher as the classifier
and its generator as the language model. All are pure functions of rows.
"""

import statistics
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from math import exp

from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

from codlocal.core.records import Candidate, Original, Row, Verdict
from codlocal.core.statistics import wilson
from codlocal.core.texts import normalised
from codlocal.verification.choice import Evidence
from codlocal.verification.judge import boundary_distance
from codlocal.verification.tokens import tokens

_COMPARED = 1000
"""Of more texts than this, diversity compares as many, evenly spaced."""


class Closeness(Row):
    """Medians over some flips; None where there are none, or where none was scored.

    Attributes:
        n: how many flips.
        edit_distance: token edits / original length.
        boundary_distance: half the teacher's margin between its top two classes; with two
            classes |p - 0.5|.
        perplexity_ratio: the text's perplexity under the generator / the original's.
        diversity: mean pairwise token edit distance / longer length, without case: 0 if all
            texts are one, near 1 if they have no words in common.

    """

    n: int
    edit_distance: float | None
    boundary_distance: float | None
    perplexity_ratio: float | None
    diversity: float | None


class Measures(Row):
    """What came of some candidates.

    Attributes:
        name: which candidates: a round, a direction, all.
        originals: the originals that were asked for.
        candidates: the replies to them.
        failed: replies without a usable text, copies included.
        flips: replies to which the teacher gives another label than to the original.
        flip_rate: flips / candidates.
        solved: originals with a good flip.
        solved_rate: solved / originals.
        solved_interval: its Wilson interval at level 0.95.
        good: closeness of the good flips.
        chosen: closeness of the chosen ones, the pairs.
        tokens_per_pair: generated tokens of all candidates, those of their scores and of texts that
            were only compared included, / pairs. A score that two rounds need is asked once, and
            counts in both. The originals' own, once a run, are left out.
        seconds_per_pair: of all, the seconds of the generate stage, the engine's start included, /
            pairs; of a round, the seconds while it ran, in which its requests overlap, / its pairs.
            Rounds follow each other, so that theirs add up to all but the start and what is asked
            of the originals; a run that went on within a round has the engine's start in it, too.
            None of a direction, and where the replies are another run's.

    """

    name: str
    originals: int
    candidates: int
    failed: int
    flips: int
    flip_rate: float | None
    solved: int
    solved_rate: float | None
    solved_interval: tuple[float, float] | None
    good: Closeness
    chosen: Closeness
    tokens_per_pair: float | None
    seconds_per_pair: float | None = None


class Generation(Row):
    """The content of `generation.json`: all candidates, by round, and by the flip asked for."""

    total: Measures
    rounds: tuple[Measures, ...]
    directions: tuple[Measures, ...]


def measure(
    name: str,
    candidates: Sequence[Candidate],
    evidence: Evidence,
    good: Set[str],
    chosen: Set[str],
    originals: Collection[str] | None = None,
) -> Measures:
    """Measure some of the candidates.

    Args:
        name: what to call them.
        candidates: the rows to measure.
        evidence: what is known of them.
        good: ids of the good flips among all candidates.
        chosen: ids of the candidates that became pairs.
        originals: the originals that were asked for, if not only those with a candidate.

    """
    asked = {row.example_id for row in candidates} if originals is None else set(originals)
    solved = {row.example_id for row in candidates if row.id in good}
    taken = [row for row in candidates if row.id in chosen]
    judged = [evidence.verdicts[row.id] for row in candidates if row.text is not None]
    flips = sum(verdict.flipped for verdict in judged)
    spent = tokens_spent(candidates, evidence)
    return Measures(
        name=name,
        originals=len(asked),
        candidates=len(candidates),
        failed=sum(row.text is None for row in candidates),
        flips=flips,
        flip_rate=_share(flips, len(candidates)),
        solved=len(solved),
        solved_rate=_share(len(solved), len(asked)),
        solved_interval=wilson(len(solved), len(asked)) if asked else None,
        good=closeness([row for row in candidates if row.id in good], evidence),
        chosen=closeness(taken, evidence),
        tokens_per_pair=_share(spent, len(taken)) if spent else None,
    )


def measure_generation(
    evidence: Evidence,
    good: Set[str],
    chosen: Set[str],
    labels: Sequence[str],
    seconds: Mapping[str, float],
) -> Generation:
    """Measure all candidates of a run, each round, and each direction that was asked for.

    Args:
        evidence: what is known.
        good: ids of the good flips.
        chosen: ids of the candidates that became pairs.
        labels: the names of the classes.
        seconds: how long "all" of generation took, and "round 1" and so on, where it is known.

    """
    rows = list(evidence.candidates.values())
    rounds: dict[int, list[Candidate]] = {}
    ways: dict[tuple[int, int], list[Candidate]] = {}
    for row in rows:
        rounds.setdefault(row.round, []).append(row)
        ways.setdefault((row.source_label, row.target_label), []).append(row)

    def timed(found: Measures) -> Measures:
        spent, pairs = seconds.get(found.name), found.chosen.n
        each = None if spent is None else _share(spent, pairs)
        return found.model_copy(update={"seconds_per_pair": each})

    return Generation(
        total=timed(measure("all", rows, evidence, good, chosen, evidence.originals)),
        rounds=tuple(
            timed(measure(f"round {number + 1}", part, evidence, good, chosen))
            for number, part in sorted(rounds.items())
        ),
        directions=tuple(
            measure(f"{labels[source]} -> {labels[target]}", part, evidence, good, chosen)
            for (source, target), part in sorted(ways.items())
        ),
    )


def closeness(flips: Sequence[Candidate], evidence: Evidence) -> Closeness:
    """Measure how close, likely and diverse some flips are."""
    judged = [(evidence.verdicts[row.id], evidence.originals[row.example_id]) for row in flips]
    return Closeness(
        n=len(flips),
        **{name: _median(value(*one) for one in judged) for name, value in CLOSENESS.items()},
        diversity=diversity([row.text or "" for row in flips]),
    )


def tokens_spent(candidates: Iterable[Candidate], evidence: Evidence) -> int:
    """Generated tokens of some candidates, those of their scores included."""
    verdicts = evidence.verdicts
    return sum(
        row.completion_tokens + (verdicts[row.id].scoring_tokens if row.text is not None else 0)
        for row in candidates
    )


def _perplexity_ratio(verdict: Verdict, original: Original) -> float | None:
    if verdict.fluency is None or original.fluency is None:
        return None
    return exp(original.fluency.mean - verdict.fluency.mean)


CLOSENESS: Mapping[str, Callable[[Verdict, Original], float | None]] = {
    "edit_distance": lambda verdict, _original: verdict.edit_distance,
    "boundary_distance": lambda verdict, _original: boundary_distance(verdict.probabilities),
    "perplexity_ratio": _perplexity_ratio,
}
"""What is measured of each flip, of which a `Closeness` has the medians."""


def diversity(texts: Sequence[str]) -> float | None:
    """Mean pairwise normalised Levenshtein distance of the texts' tokens; None for fewer than 2."""
    step = max(len(texts) / _COMPARED, 1.0)
    kept = [tokens(normalised(texts[int(at * step)])) for at in range(int(len(texts) / step))]
    if len(kept) < 2:
        return None
    distances = process.cdist(kept, kept, scorer=Levenshtein.normalized_distance)
    return float(distances.sum() / (len(kept) * (len(kept) - 1)))


def _median(values: Iterable[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return statistics.median(found) if found else None


def _share(part: float, whole: int) -> float | None:
    return part / whole if whole else None
