"""Which verified flips are good enough to become counterfactuals.

A flip must be a small edit and read like language: gibberish that merely fools the teacher makes
a student worse than no counterfactual at all. What counts as language is learned from the
originals under the same generator, never set by hand.
"""

import math
import sys
from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from codlocal.core.records import Original, Verdict
from codlocal.core.sections import VerificationConfig


@dataclass(frozen=True)
class Gate:
    """The limits of an acceptable edit. Log-probabilities are natural logarithms.

    Attributes:
        max_edit_distance: token edits / original length.
        drop_per_edit: by how much each edited token may lower the text's log-probability.
        worst: the least likely token may be as unlikely as this, or as its original's worst.
        pieces: of how many of the generator's tokens an unknown word may be, in multiples of an
            ordinary word of the original.

    """

    max_edit_distance: float
    drop_per_edit: float
    worst: float
    pieces: float


_STRAINED = 1.25
"""In multiples of what one edit may cost: of 209 pairs read by eye it finds 25, and 23 of them
were bad English or contradicted themselves."""

_SURE = 0.95
"""How likely a flip's label has to be by what teacher and generator say together: of 118 pairs read
by eye it finds 49, of which 36 were bad, 6 middling and 7 good."""

Check = Callable[[Verdict, Original, Gate], str | None]
"""Gives the reason to refuse a candidate, or None. Add one to `CHECKS` to have it applied."""


def learn_gate(originals: Iterable[Original], settings: VerificationConfig) -> Gate:
    """Learn the fluency limits from the originals; without their scores nothing is refused.

    An edited token may cost `fluency_slack` times the surprisal of an ordinary token of the
    originals. The whole text's drop counts, so a misfit is seen also where it hurts what follows
    it, and long texts don't hide it. The worst token may be as unlikely as the
    `fluency_quantile` quantile of the originals' worst tokens. An unknown word may be
    `fluency_slack` times as many pieces as an ordinary word of its original.
    """
    totals, worst, tokens = array("d"), array("d"), 0
    for score in (one.fluency for one in originals if one.fluency is not None):
        totals.append(score.total)
        worst.append(score.worst)
        tokens += score.tokens
    if len(totals) < 2:
        unlimited = float("inf")
        return Gate(settings.max_edit_distance, unlimited, -unlimited, unlimited)
    surprisal = -sum(totals) / max(tokens, 1)
    return Gate(
        max_edit_distance=settings.max_edit_distance,
        drop_per_edit=settings.fluency_slack * surprisal,
        worst=float(np.quantile(worst, settings.fluency_quantile)),
        pieces=settings.fluency_slack,
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


def _made_up(verdict: Verdict, original: Original, gate: Gate) -> str | None:
    """Refuse what is no word: no training text has it, and the generator has to spell it out.

    A word of a training text may be spelled out, and a new word may be one piece: either alone
    would refuse good words, rare names or mere absentees of a small training split.
    """
    if not verdict.unknown or verdict.fluency is None or original.fluency is None:
        return None
    ordinary = original.fluency.tokens / max(verdict.original_length, 1)
    grown = verdict.length - verdict.original_length
    spelled = verdict.fluency.tokens - original.fluency.tokens - grown
    allowed = len(verdict.unknown) * (gate.pieces * ordinary - 1)
    return "a made-up word" if spelled > allowed else None


def _repeats_itself(verdict: Verdict, _original: Original, _gate: Gate) -> str | None:
    # A language model finds what it has just said likely: its own log-probabilities miss this.
    return "repeats itself" if verdict.repeated else None


def _breaks_off(verdict: Verdict, _original: Original, _gate: Gate) -> str | None:
    # The generator sees a place by what comes before alone: "the" is likely after "moving to".
    return "breaks off" if verdict.broken_off else None


CHECKS: tuple[Check, ...] = (
    _not_flipped,
    _edited_too_much,
    _not_fluent,
    _made_up,
    _repeats_itself,
    _breaks_off,
)


def refusal(verdict: Verdict, original: Original, gate: Gate) -> str | None:
    """The first reason to refuse a candidate, or None if it is a good flip."""
    return next((reason for check in CHECKS if (reason := check(verdict, original, gate))), None)


def wanting(verdict: Verdict, original: Original, gate: Gate) -> bool:
    """Whether a good flip is worth a try for a better one: it strains, or its label is in doubt.

    It stays a good flip: where there is no better one it becomes the pair.
    """
    return strains(verdict, gate) or doubtful(verdict, original)


def strains(verdict: Verdict, gate: Gate) -> bool:
    """Whether a text reads badly where it was left alone."""
    return verdict.strain is not None and verdict.strain > _STRAINED * gate.drop_per_edit


def doubtful(verdict: Verdict, original: Original) -> bool:
    """Whether teacher and generator, taken for independent witnesses, are unsure of the new label.

    Their log-odds add up. A teacher that is not that sure of the original is asked no more of it
    than that.
    """
    if verdict.opinion is None:
        return False
    evidence = _log_odds(verdict.probabilities[verdict.label]) + verdict.opinion
    return evidence < min(_log_odds(_SURE), _log_odds(original.probabilities[original.label]))


def _log_odds(probability: float) -> float:
    return math.log(probability) - math.log(max(1 - probability, sys.float_info.epsilon))


def cost(verdict: Verdict, original: Original, fluency_weight: float) -> float:
    """What the choice minimises: edit distance, and the weighted drops in log-probability.

    Those are the whole text's, and that of the tokens beside the edit.
    """
    drops = max(_drop(verdict, original), 0.0) + max(verdict.strain or 0.0, 0.0)
    return verdict.edit_distance + fluency_weight * drops


def _drop(verdict: Verdict, original: Original) -> float:
    """How much less likely the whole text became, in nats; negative if it reads better now."""
    if verdict.fluency is None or original.fluency is None:
        return 0.0
    return original.fluency.total - verdict.fluency.total
