"""Which texts a student sees: k of them in either arm, so that the arms have one label budget."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from codlocal.core.records import CounterfactualPair, Example


@dataclass(frozen=True)
class TrainingText:
    """One text to train on. `gold` is its label in the data; counterfactuals have none."""

    id: str
    text: str
    gold: int | None


@dataclass(frozen=True)
class TrainingSet:
    """The texts of one student and which of them belong together in a mini-batch.

    Attributes:
        texts: the texts; groups refer to them by position.
        groups: pairs (original, counterfactual) and singles.
        pairs: how many groups are pairs.
        singles: originals that were to have a counterfactual and have none.
        fill: further originals that make up the number of texts.

    """

    texts: tuple[TrainingText, ...]
    groups: tuple[tuple[int, ...], ...]
    pairs: int = 0
    singles: int = 0
    fill: int = 0


def baseline_set(originals: Sequence[Example]) -> TrainingSet:
    """All k originals, as in distillation without counterfactuals."""
    texts = tuple(_original(example) for example in originals)
    return TrainingSet(texts, tuple((index,) for index in range(len(texts))), fill=len(texts))


def paired_set(
    originals: Sequence[Example], pairs: Mapping[str, CounterfactualPair]
) -> TrainingSet:
    """The first k/2 originals with their counterfactuals, k texts in all.

    An original without a pair stays as a single text; its counterfactual's place goes to the
    next of the other k/2 originals, so that the count is always that of `baseline_set`.
    """
    half = len(originals) // 2
    texts: list[TrainingText] = []
    groups: list[tuple[int, ...]] = []
    for example in originals[:half]:
        texts.append(_original(example))
        groups.append((len(texts) - 1,))
        if example.id in pairs:
            pair = pairs[example.id]
            texts.append(TrainingText(pair.candidate_id, pair.counterfactual, None))
            groups[-1] = (len(texts) - 2, len(texts) - 1)
    paired = len(texts) - half
    fill = originals[half : len(originals) - paired]
    for example in fill:
        groups.append((len(texts),))
        texts.append(_original(example))
    return TrainingSet(tuple(texts), tuple(groups), paired, half - paired, len(fill))


def _original(example: Example) -> TrainingText:
    return TrainingText(example.id, example.text, example.label)
