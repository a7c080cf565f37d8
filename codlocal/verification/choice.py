"""Which of the good flips become counterfactuals: by rule, several an original, none twice."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from codlocal.core.records import (
    Candidate,
    CounterfactualPair,
    Example,
    Original,
    Rejection,
    Verdict,
)
from codlocal.core.sections import VerificationConfig
from codlocal.core.texts import normalised
from codlocal.verification.duplicates import near_edit, near_text, similarity
from codlocal.verification.judge import boundary_distance
from codlocal.verification.selection import Gate, cost, doubtful, learn_gate, refusal, strains


@dataclass(frozen=True)
class Evidence:
    """All that is known when pairs are chosen, keyed by example id or candidate id.

    `earlier` has the texts of pairs of earlier rounds, normalised, with their ids: none of them is
    taken once more. `held_out` are candidates' texts, normalised, that the test split has, too.
    """

    examples: Mapping[str, Example]
    originals: Mapping[str, Original]
    candidates: Mapping[str, Candidate]
    verdicts: Mapping[str, Verdict]
    earlier: Mapping[str, str] = field(default_factory=dict)
    held_out: frozenset[str] = frozenset()


NOT_ASKED = "nothing was asked: no word to edit, or the budget was spent"
"""Why an original without candidates has no pair."""

Good = Mapping[str, Sequence[Candidate]]
"""The good flips of every original, by example id; none for some."""


def sieve(evidence: Evidence, settings: VerificationConfig) -> tuple[Good, list[Rejection]]:
    """Part the good flips from the candidates that a check refuses, which keep their reason."""
    gate = learn_gate(evidence.originals.values(), settings)
    good: dict[str, list[Candidate]] = {example_id: [] for example_id in evidence.originals}
    refused: list[Rejection] = []
    for row in sorted(evidence.candidates.values(), key=lambda row: row.id):
        reason = _refusal(row, evidence, gate)
        if reason:
            refused.append(_rejection(row, reason))
        else:
            good[row.example_id].append(row)
    return good, refused


def _refusal(row: Candidate, evidence: Evidence, gate: Gate) -> str | None:
    if row.text is None:
        return row.failure or "no text"
    if evidence.held_out and normalised(row.text) in evidence.held_out:
        return "a text of the test split"
    return refusal(evidence.verdicts[row.id], evidence.originals[row.example_id], gate)


@dataclass(frozen=True)
class _Flip:
    """A good flip with its price under the rules; both texts are normalised.

    It is `astray` if another label was wanted than it has, and `wanting` if it reads badly, or its
    label is in doubt.
    """

    candidate: Candidate
    verdict: Verdict
    source: str
    text: str
    cost: float
    astray: bool
    wanting: bool


class _Chosen:
    """The texts that were chosen so far; no flip is compared with one of them twice."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._nearest: dict[str, tuple[int, float]] = {}

    def add(self, flip: _Flip) -> None:
        self._texts.append(flip.text)

    def similarity(self, flip: _Flip) -> float:
        """How similar a flip is to the nearest of them."""
        compared, nearest = self._nearest.get(flip.candidate.id, (0, 0.0))
        nearest = max(nearest, similarity(flip.text, self._texts[compared:]))
        self._nearest[flip.candidate.id] = len(self._texts), nearest
        return nearest


Rule = Callable[[_Flip, _Chosen], float]
"""What a rule minimises, for a flip and the texts that were chosen before it."""


def _surprisal(flip: _Flip, _chosen: _Chosen) -> float:
    return 0.0 if flip.verdict.fluency is None else -flip.verdict.fluency.mean


RULES: dict[str, Rule] = {
    "minimal": lambda flip, _chosen: flip.cost,
    "boundary": lambda flip, _chosen: boundary_distance(flip.verdict.probabilities),
    "fluent": _surprisal,
    "diverse": lambda flip, chosen: chosen.similarity(flip),
}
"""The rules of choice. Among equals the one with the least edit and drop is taken.

Whatever the rule, a flip that strains is taken for want of others only, and so is one whose label
is in doubt, but by "boundary": there the teacher is never sure.
"""


def choose(
    good: Good, evidence: Evidence, settings: VerificationConfig, *, as_asked: bool = False
) -> tuple[list[CounterfactualPair], list[Rejection]]:
    """Take the best good flips of every original; give back the pairs and all that was not taken.

    Every good flip is in exactly one of the two lists; an original without any pair is rejected
    too, with `candidate_id` None. The pairs are in the order of the originals and, for one
    original, in the order of preference: its best flip, then the best to each further label.
    Equal evidence gives equal lists. Of several an original one direction may have more than
    another: none is left out for that, it is told by direction and made up for in distillation.
    If labels are wanted `as_asked`, flips into others are taken for want of those only.
    """
    chosen: list[_Flip] = []
    rejections: list[Rejection] = []
    texts: dict[int, dict[str, str]] = {}
    before, gate = _Chosen(), learn_gate(evidence.originals.values(), settings)
    asked = {row.example_id for row in evidence.candidates.values()}
    for example_id, candidates in good.items():
        flips = [_flip(row, evidence, settings, gate, as_asked) for row in candidates]
        taken, refused = _take(flips, texts, before, evidence.earlier, settings)
        chosen += taken
        for flip in taken:
            texts.setdefault(flip.verdict.label, {})[flip.candidate.id] = flip.text
        rejections += refused
        if not taken:
            reason = "only duplicates of chosen texts" if flips else "no verified flip"
            if example_id not in asked:
                reason = NOT_ASKED
            rejections.append(Rejection(example_id=example_id, candidate_id=None, reason=reason))
    return [_pair(flip, evidence) for flip in chosen], rejections


def _take(
    flips: Sequence[_Flip],
    others: Mapping[int, Mapping[str, str]],
    chosen: _Chosen,
    earlier: Mapping[str, str],
    settings: VerificationConfig,
) -> tuple[list[_Flip], list[Rejection]]:
    """Choose among the flips of one original.

    `others` are the texts chosen for other originals, by label and id; `chosen` gets those that
    are taken here, too.
    """
    rule = RULES[settings.select]
    taken: list[_Flip] = []
    refused: list[Rejection] = []

    def price(flip: _Flip) -> tuple[bool, int, bool, float, float, str]:
        reached = sum(one.verdict.label == flip.verdict.label for one in taken)
        ruled = rule(flip, chosen)
        return flip.astray, reached, flip.wanting, ruled, flip.cost, flip.candidate.id

    waiting = list(flips)
    while waiting and len(taken) < settings.per_example:
        flip = min(waiting, key=price)
        waiting.remove(flip)
        twin = earlier.get(flip.text) or _twin(flip, taken, others)
        if twin:
            refused.append(_rejection(flip.candidate, "a duplicate of a chosen text", twin))
        else:
            taken.append(flip)
            chosen.add(flip)
    # Whether these are duplicates, too, is not asked: that is a comparison with all chosen texts.
    left = [_rejection(flip.candidate, "another candidate was chosen") for flip in waiting]
    return taken, refused + left


def _twin(
    flip: _Flip, taken: Sequence[_Flip], others: Mapping[int, Mapping[str, str]]
) -> str | None:
    """The id of a chosen candidate that says all but the same, and has the same label.

    Like texts of two labels have the teacher's boundary between them: they are both of use.
    """
    label = flip.verdict.label
    same = (
        one.candidate.id
        for one in taken
        if one.verdict.label == label and near_edit(flip.source, flip.text, one.text)
    )
    return next(same, None) or near_text(flip.text, others.get(label, {}))


def _flip(
    candidate: Candidate,
    evidence: Evidence,
    settings: VerificationConfig,
    gate: Gate,
    as_asked: bool,
) -> _Flip:
    verdict, original = evidence.verdicts[candidate.id], evidence.originals[candidate.example_id]
    return _Flip(
        candidate=candidate,
        verdict=verdict,
        source=normalised(evidence.examples[candidate.example_id].text),
        text=normalised(candidate.text or ""),
        cost=cost(verdict, original, settings.fluency_weight),
        astray=as_asked and verdict.label != candidate.target_label,
        wanting=strains(verdict, gate)
        or (settings.select != "boundary" and doubtful(verdict, original)),
    )


def _rejection(candidate: Candidate, reason: str, detail: str = "") -> Rejection:
    return Rejection(
        example_id=candidate.example_id, candidate_id=candidate.id, reason=reason, detail=detail
    )


def _pair(flip: _Flip, evidence: Evidence) -> CounterfactualPair:
    text = evidence.examples[flip.candidate.example_id].text
    return CounterfactualPair.of(text, flip.candidate, flip.verdict, wanting=flip.wanting)
