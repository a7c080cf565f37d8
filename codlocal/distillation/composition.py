"""Which texts a student sees.

With the paper's budget it is k of them in either arm, so that the arms have one label budget. With
the budget "max" the student sees the baseline's k texts and every counterfactual of them.
"""

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from codlocal.core.records import CounterfactualPair, Example

Pairs = Mapping[str, Sequence[CounterfactualPair]]
"""The verified pairs of each original, by example id, the preferred one first."""


@dataclass(frozen=True)
class TrainingText:
    """One text to train on. `gold` is its label in the data; counterfactuals have none.

    Counterfactuals that the teacher has not verified are `assumed` to have a label.
    """

    id: str
    text: str
    gold: int | None
    assumed: int | None = None


@dataclass(frozen=True)
class TrainingSet:
    """The texts of one student and which of them belong together in a mini-batch.

    Attributes:
        texts: the texts; groups refer to them by position.
        groups: originals, each followed by its counterfactuals; of those that no batch can hold
            beside their original, groups of counterfactuals alone.
        pairs: how many counterfactuals there are.
        singles: originals that were to have a counterfactual and have none.
        fill: further originals that make up the number of texts.
        unsplit: the groups before those that no batch can hold were split, if they were.

    """

    texts: tuple[TrainingText, ...]
    groups: tuple[tuple[int, ...], ...]
    pairs: int = 0
    singles: int = 0
    fill: int = 0
    unsplit: tuple[tuple[int, ...], ...] = ()

    @property
    def families(self) -> tuple[tuple[int, ...], ...]:
        """Every original with all of its counterfactuals, whether or not a batch can hold them."""
        return self.unsplit or self.groups


def baseline_set(originals: Sequence[Example]) -> TrainingSet:
    """All k originals, as in distillation without counterfactuals."""
    return _assemble([(example, ()) for example in originals], fill=len(originals))


def paired_set(originals: Sequence[Example], pairs: Pairs) -> TrainingSet:
    """The first k/2 originals with their preferred counterfactuals, k texts in all.

    An original without a pair stays as a single text; its counterfactual's place goes to one of
    the other k/2 originals, so that the count is always that of `baseline_set`. Of these the
    rarest class is taken first: flips that fail more often in one direction leave no imbalance.
    """
    half = len(originals) // 2
    chosen = [(example, pairs.get(example.id, ())[:1]) for example in originals[:half]]
    labels = [example.label for example, _ in chosen]
    labels += [pair.counterfactual_label for _, found in chosen for pair in found]
    fill = _balancing(originals[half:], labels, len(originals) - len(labels))
    return _assemble([*chosen, *((example, ()) for example in fill)], fill=len(fill))


def full_set(originals: Sequence[Example], pairs: Pairs, largest: int) -> TrainingSet:
    """All k originals, each with every counterfactual that it has, in groups of at most `largest`.

    Where an original has more, those beyond its own group form further groups.
    """
    whole = _assemble([(example, pairs.get(example.id, ())) for example in originals])
    groups = tuple(
        group[start : start + largest]
        for group in whole.groups
        for start in range(0, len(group), largest)
    )
    return replace(whole, groups=groups, unsplit=whole.groups)


def _balancing(others: Sequence[Example], labels: Sequence[int], count: int) -> list[Example]:
    """Choose `count` of the others, in their order, to even out the classes of `labels`."""
    counts = Counter(labels)
    waiting: dict[int, deque[int]] = {}
    for at, example in enumerate(others):
        waiting.setdefault(example.label, deque()).append(at)
    taken = set()
    for _ in range(count):
        rarest = min(waiting, key=lambda label: (counts[label], waiting[label][0]))
        counts[rarest] += 1
        taken.add(waiting[rarest].popleft())
        if not waiting[rarest]:
            del waiting[rarest]
    return [example for at, example in enumerate(others) if at in taken]


def _assemble(
    chosen: Sequence[tuple[Example, Sequence[CounterfactualPair]]], fill: int = 0
) -> TrainingSet:
    texts: list[TrainingText] = []
    groups: list[tuple[int, ...]] = []
    for example, pairs in chosen:
        start = len(texts)
        texts.append(TrainingText(example.id, example.text, example.label))
        texts += [TrainingText(pair.candidate_id, pair.counterfactual, None) for pair in pairs]
        groups.append(tuple(range(start, len(texts))))
    singles = sum(not pairs for _, pairs in chosen) - fill
    return TrainingSet(tuple(texts), tuple(groups), len(texts) - len(chosen), singles, fill)
