"""Which verified flips are good enough, and which one of them becomes the counterfactual.

A flip must be a small edit and read like language: gibberish that merely fools the teacher makes
a student worse than no counterfactual at all. What counts as language is learned from the
originals under the same generator, never set by hand.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from codlocal.core.records import (
    Candidate,
    CounterfactualPair,
    Example,
    Original,
    Rejection,
    Verdict,
)
from codlocal.core.sections import VerificationConfig


@dataclass(frozen=True)
class Gate:
    """The limits of an acceptable edit. Log-probabilities are natural logarithms.

    Attributes:
        max_edit_distance: token edits / original length.
        drop_per_edit: by how much each edited token may lower the text's log-probability.
        worst: the least likely token may be as unlikely as this, or as its original's worst.

    """

    max_edit_distance: float
    drop_per_edit: float
    worst: float


Check = Callable[[Verdict, Original, Gate], str | None]
"""Gives the reason to refuse a candidate, or None. Add one to `CHECKS` to have it applied."""


def learn_gate(originals: Iterable[Original], settings: VerificationConfig) -> Gate:
    """Learn the fluency limits from the originals; without their scores nothing is refused.

    An edited token may cost `fluency_slack` times the surprisal of an ordinary token of the
    originals. The whole text's drop counts, so a misfit is seen also where it hurts what follows
    it, and long texts don't hide it. The worst token may be as unlikely as the
    `fluency_quantile` quantile of the originals' worst tokens.
    """
    scores = [original.fluency for original in originals if original.fluency is not None]
    if len(scores) < 2:
        return Gate(settings.max_edit_distance, float("inf"), float("-inf"))
    surprisal = -sum(score.total for score in scores) / max(sum(one.tokens for one in scores), 1)
    worst = np.array([score.worst for score in scores])
    return Gate(
        max_edit_distance=settings.max_edit_distance,
        drop_per_edit=settings.fluency_slack * surprisal,
        worst=float(np.quantile(worst, settings.fluency_quantile)),
    )


def _not_flipped(verdict: Verdict, _original: Original, _gate: Gate) -> str | None:
    return None if verdict.flipped else "not flipped"


def _edited_too_much(verdict: Verdict, _original: Original, gate: Gate) -> str | None:
    # One word is the least that can change, however few there are.
    too_much = verdict.edits > 1 and verdict.edit_distance > gate.max_edit_distance
    return "edited too much" if too_much else None


def _not_fluent(verdict: Verdict, original: Original, gate: Gate) -> str | None:
    if verdict.fluency is None or original.fluency is None:
        return None
    if _drop(verdict, original) > gate.drop_per_edit * max(verdict.edits, 1):
        return "not fluent"
    if verdict.fluency.worst < min(gate.worst, original.fluency.worst):
        return "not fluent"
    return None


CHECKS: tuple[Check, ...] = (_not_flipped, _edited_too_much, _not_fluent)


def refusal(verdict: Verdict, original: Original, gate: Gate) -> str | None:
    """The first reason to refuse a candidate, or None if it is a good flip."""
    return next((reason for check in CHECKS if (reason := check(verdict, original, gate))), None)


def cost(verdict: Verdict, original: Original, fluency_weight: float) -> float:
    """What the choice minimises: edit distance plus the weighted drop in log-probability."""
    return verdict.edit_distance + fluency_weight * max(_drop(verdict, original), 0.0)


def _drop(verdict: Verdict, original: Original) -> float:
    """How much less likely the whole text became, in nats; negative if it reads better now."""
    if verdict.fluency is None or original.fluency is None:
        return 0.0
    return original.fluency.total - verdict.fluency.total


@dataclass(frozen=True)
class Evidence:
    """All that is known when pairs are chosen, keyed by example id or candidate id."""

    examples: Mapping[str, Example]
    originals: Mapping[str, Original]
    candidates: Mapping[str, Candidate]
    verdicts: Mapping[str, Verdict]


def choose(
    evidence: Evidence, settings: VerificationConfig
) -> tuple[list[CounterfactualPair], list[Rejection]]:
    """Take the best good flip of every original; give back the pairs and all that was not taken.

    Every candidate is in exactly one of the two lists; an original without any pair is rejected
    too, with `candidate_id` None. The order follows the originals, so equal evidence gives equal
    files.
    """
    gate = learn_gate(evidence.originals.values(), settings)
    by_example: dict[str, list[Candidate]] = {key: [] for key in evidence.originals}
    for candidate in evidence.candidates.values():
        by_example[candidate.example_id].append(candidate)
    pairs: list[CounterfactualPair] = []
    rejections: list[Rejection] = []
    for example_id, candidates in by_example.items():
        ordered = sorted(candidates, key=lambda row: row.id)
        good, refused = _sieve(ordered, evidence, gate)
        rejections += refused
        if not good:
            rejections.append(
                Rejection(example_id=example_id, candidate_id=None, reason="no verified flip")
            )
            continue
        best = _cheapest(good, evidence, settings.fluency_weight)
        pairs.append(_pair(best, evidence))
        rejections += [
            _rejection(row, "another candidate was chosen") for row in good if row is not best
        ]
    return pairs, rejections


def _cheapest(good: Sequence[Candidate], evidence: Evidence, fluency_weight: float) -> Candidate:
    def price(row: Candidate) -> tuple[float, str]:
        original = evidence.originals[row.example_id]
        return cost(evidence.verdicts[row.id], original, fluency_weight), row.id

    return min(good, key=price)


def _sieve(
    candidates: Sequence[Candidate], evidence: Evidence, gate: Gate
) -> tuple[list[Candidate], list[Rejection]]:
    good: list[Candidate] = []
    refused: list[Rejection] = []
    for row in candidates:
        if row.text is None:
            refused.append(_rejection(row, row.failure or "no text"))
            continue
        verdict, original = evidence.verdicts[row.id], evidence.originals[row.example_id]
        reason = refusal(verdict, original, gate)
        if reason:
            refused.append(_rejection(row, reason))
        else:
            good.append(row)
    return good, refused


def _rejection(candidate: Candidate, reason: str) -> Rejection:
    return Rejection(example_id=candidate.example_id, candidate_id=candidate.id, reason=reason)


def _pair(candidate: Candidate, evidence: Evidence) -> CounterfactualPair:
    verdict = evidence.verdicts[candidate.id]
    return CounterfactualPair(
        example_id=candidate.example_id,
        candidate_id=candidate.id,
        text=evidence.examples[candidate.example_id].text,
        label=candidate.source_label,
        counterfactual=candidate.text or "",
        counterfactual_label=verdict.label,
        edit_distance=verdict.edit_distance,
        target_probability=verdict.probabilities[verdict.label],
    )
