"""The arms of an ablation: what a student is given at a budget of k labelled texts.

All arms of a seed share its originals, its steps and its start. An arm is one entry of `ARMS`.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from codlocal.core.records import Candidate, CounterfactualPair, Example, Verdict
from codlocal.core.sections import DistillationConfig, Strategy
from codlocal.distillation.composition import Pairs, TrainingSet, baseline_set, paired_set

UNSCREENED: tuple[Strategy, ...] = ("guided", "wide", "free")
"""Rounds whose words the generator chooses; in the others the teacher picks those that flip."""


@dataclass(frozen=True)
class Edit:
    """A candidate with the teacher's verdict on it."""

    candidate: Candidate
    verdict: Verdict


@dataclass(frozen=True)
class Material:
    """What the arms of one seed are made of.

    Attributes:
        originals: the k labelled texts, in the order of their draw.
        pairs: the chosen counterfactuals of an original, by example id, the preferred first.
        edits: all usable candidates of an original in the order of asking, by example id.
        seed: the seed of the draw.

    """

    originals: Sequence[Example]
    pairs: Pairs
    edits: Mapping[str, Sequence[Edit]]
    seed: int


@dataclass(frozen=True)
class Arm:
    """One arm.

    Attributes:
        about: what it shows, in a few words.
        texts: chooses the training texts.
        counterfactuals: whether a generator is needed.
        ordered: whether it matters which originals come first, though there is no counterfactual.
        unscreened: whether it needs edits that the teacher had no say in (`UNSCREENED`).
        unchosen: whether it takes edits as they come: too few verified pairs don't concern it.
        learner: what is made of the texts (see `learners`).
        settings: distillation settings that make the arm.
        soft_labels: whose they are: a text's own, a random text's with the same label, or nobody's.

    """

    about: str
    texts: Callable[[Material], TrainingSet]
    counterfactuals: bool = False
    ordered: bool = False
    unscreened: bool = False
    unchosen: bool = False
    learner: Literal["student", "start", "logistic", "setfit"] = "student"
    settings: Mapping[str, object] = field(default_factory=dict)
    soft_labels: Literal["own", "random", "none"] = "own"


def _originals(material: Material) -> TrainingSet:
    return baseline_set(material.originals)


def _half(material: Material) -> TrainingSet:
    return baseline_set(material.originals[: len(material.originals) // 2])


def _verified(material: Material) -> TrainingSet:
    return paired_set(material.originals, material.pairs)


def _unverified(material: Material) -> TrainingSet:
    """The first edit of every original, taken for a flip, as the paper's code does."""
    chosen = {one: _taken_for_a_flip(edits[0]) for one, edits in _unscreened(material).items()}
    assumed = {edit.candidate.id: edit.verdict.label for edit in chosen.values()}
    training_set = _with_edits(material, chosen)
    texts = [
        replace(text, assumed=assumed[text.id]) if text.id in assumed else text
        for text in training_set.texts
    ]
    return replace(training_set, texts=tuple(texts))


def _taken_for_a_flip(edit: Edit) -> Edit:
    label = edit.candidate.target_label
    return replace(edit, verdict=edit.verdict.model_copy(update={"label": label}))


def _any_flip(material: Material) -> TrainingSet:
    chosen = {}
    for one, edits in material.edits.items():
        flips = [edit for edit in edits if edit.verdict.flipped]
        if flips:
            chosen[one] = _random(material, one).choice(flips)
    return _with_edits(material, chosen)


def _paraphrase(material: Material) -> TrainingSet:
    chosen = {}
    for one, edits in _unscreened(material).items():
        kept = [edit for edit in edits if edit.verdict.label == edit.candidate.source_label]
        if kept:
            chosen[one] = kept[0]
    return _with_edits(material, chosen)


def _unscreened(material: Material) -> dict[str, list[Edit]]:
    found = {
        one: [edit for edit in edits if edit.candidate.strategy in UNSCREENED]
        for one, edits in material.edits.items()
    }
    return {one: edits for one, edits in found.items() if edits}


def _mixed(material: Material) -> TrainingSet:
    """All k originals, each of one class beside a random one of another class."""
    texts = _originals(material).texts
    waiting = list(range(len(texts)))
    _random(material, "mixed").shuffle(waiting)
    groups: list[tuple[int, ...]] = []
    while waiting:
        first = waiting.pop()
        other = next((one for one in waiting if texts[one].gold != texts[first].gold), None)
        if other is not None:
            waiting.remove(other)
        groups.append((first,) if other is None else (first, other))
    pairs = sum(len(group) == 2 for group in groups)
    return TrainingSet(texts, tuple(groups), pairs, singles=len(groups) - pairs)


def _with_edits(material: Material, chosen: Mapping[str, Edit]) -> TrainingSet:
    """The first k/2 originals, each with its chosen edit in the place of the counterfactual."""
    texts = {example.id: example.text for example in material.originals}
    pairs = {
        one: [CounterfactualPair.of(texts[one], edit.candidate, edit.verdict)]
        for one, edit in chosen.items()
        if one in texts
    }
    return paired_set(material.originals, pairs)


def _random(material: Material, name: str) -> random.Random:
    # A string seed is hashed by content, so the draw is the same in every process.
    return random.Random(f"{material.seed}/{name}")  # noqa: S311


ARMS: Mapping[str, Arm] = {
    "student": Arm("k/2 originals and their verified counterfactuals", _verified, True),
    "baseline": Arm("k originals", _originals),
    "half": Arm("k/2 originals alone", _half, ordered=True),
    "unverified": Arm(
        "the first edit in which the teacher had no say, its flip assumed; hard labels of "
        "originals from the data",
        _unverified,
        True,
        unscreened=True,
        unchosen=True,
        settings={"hard_labels": "gold"},
    ),
    "any-flip": Arm("a random flip: no choice, no fluency gate", _any_flip, True, unchosen=True),
    "paraphrase": Arm(
        "edits in which the teacher had no say and that keep its label",
        _paraphrase,
        True,
        unscreened=True,
        unchosen=True,
    ),
    "mixed": Arm(
        "k originals, in pairs of different classes drawn at random", _mixed, ordered=True
    ),
    "random-soft": Arm(
        "verified pairs; soft labels of random texts with the same label (kd, whatever the method)",
        _verified,
        True,
        # Whatever else the teacher says would tell of the true ones.
        settings={"method": "kd", "interpolation_weight": 0.0, "recombined": 0},
        soft_labels="random",
    ),
    "alpha0": Arm(
        "verified pairs, no soft labels (kd, whatever the method)",
        _verified,
        True,
        settings={
            "method": "kd",
            "kl_weight": 0.0,
            "pair_weight": 0.0,
            "interpolation_weight": 0.0,
            "recombined": 0,
        },
        # The class prior and a warm start read the teacher's logits, too.
        soft_labels="none",
    ),
    "untrained": Arm("the student's start, not trained", _originals, learner="start"),
    "logistic": Arm(
        "logistic regression on the start's frozen features, k originals",
        _originals,
        learner="logistic",
    ),
    "logistic-pairs": Arm(
        "logistic regression on the start's frozen features, verified pairs",
        _verified,
        True,
        learner="logistic",
    ),
    "setfit": Arm("SetFit on the start's body, k originals", _originals, learner="setfit"),
    "setfit-pairs": Arm(
        "SetFit on the start's body, verified pairs", _verified, True, learner="setfit"
    ),
}
"""Every arm by the name that a grid gives it."""


_START = ("student", "student_init", "student_layers", "pooling", "max_length")
_HEEDED: Mapping[str, tuple[str, ...]] = {
    "start": _START,
    "logistic": (*_START, "hard_labels"),
    "setfit": (*_START, "hard_labels", "steps"),
}


def heeded(arm: Arm, settings: DistillationConfig) -> dict[str, object]:
    """The distillation settings that an arm's result depends on, the arm's own among them."""
    found = {**settings.model_dump(mode="json"), **arm.settings}
    names = _HEEDED.get(arm.learner, found)
    # Where the start is chosen, a warm start is what speaks for a pretrained one.
    decides = {"warm_start"} if settings.student_init == "auto" else set()
    return {name: value for name, value in found.items() if name in names or name in decides}


def collect_edits(
    candidates: Sequence[Candidate], verdicts: Sequence[Verdict]
) -> dict[str, list[Edit]]:
    """The usable candidates of every original in the order of asking, whenever they came."""
    known = {verdict.candidate_id: verdict for verdict in verdicts}
    edits: dict[str, list[Edit]] = {}
    for row in sorted(candidates, key=lambda row: (row.round, len(row.id), row.id)):
        if row.text is not None and row.id in known:
            edits.setdefault(row.example_id, []).append(Edit(row, known[row.id]))
    return edits
