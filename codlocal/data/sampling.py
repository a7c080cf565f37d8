"""The few labelled texts of a seed: balanced, and nested in k.

Nested means that a seed's texts for k are the first k of its texts for any larger k. The
counterfactuals made for the largest k then serve every smaller one, and comparisons are paired.
"""

import difflib
import random
from collections import Counter
from collections.abc import Sequence

from codlocal.core.errors import DataError
from codlocal.core.records import Example, FewShotSplit

_RARE, _ALIKE = 2, 0.8
"""A label of so few texts that is so like another one (of 1) may be misspelt."""


def few_shots(
    examples: Sequence[Example], k: int, seeds: Sequence[int], label_names: Sequence[str]
) -> list[FewShotSplit]:
    """Draw k texts for each seed.

    Raises:
        DataError: a class has too few texts for some seed; the hint's largest k suits all of them.

    """
    counts = Counter(example.label for example in examples)
    orders = {seed: _turns(seed, len(label_names)) for seed in seeds}
    scarcest = min(seeds, key=lambda seed: min(_runs_out([counts[at] for at in orders[seed]])))
    few_shot(examples, k, scarcest, label_names)
    return [few_shot(examples, k, seed, label_names) for seed in seeds]


def few_shot(
    examples: Sequence[Example], k: int, seed: int, label_names: Sequence[str]
) -> FewShotSplit:
    """Draw k texts, taking the classes in turns in an order drawn for the seed.

    In every prefix the class counts differ by at most one. Neither k nor the order of
    `examples` changes which text stands where.

    Args:
        examples: the training split.
        k: how many texts to draw.
        seed: the seed of the draw.
        label_names: the class names; their count is the count of classes.

    Raises:
        DataError: a class has too few texts; the message says which, the hint the largest k.

    """
    ids: list[list[str]] = [[] for _ in label_names]
    for example in examples:
        ids[example.label].append(example.id)
    drawn = [_shuffled(found, f"{seed}-{label}") for label, found in enumerate(ids)]
    order = _turns(seed, len(label_names))
    _refuse_shortage([len(drawn[label]) for label in order], k, [label_names[it] for it in order])
    chosen = (drawn[order[place % len(order)]][place // len(order)] for place in range(k))
    return FewShotSplit(seed=seed, ids=tuple(chosen))


def _turns(seed: int, classes: int) -> list[int]:
    """The order in which the classes take their turns."""
    order = list(range(classes))
    # A string seed is hashed by content, so the draw is the same in every process.
    random.Random(f"{seed}-classes").shuffle(order)  # noqa: S311
    return order


def _runs_out(counts: Sequence[int]) -> list[int]:
    """At which turn each class has no text left, by the counts of the classes in their order."""
    # The class at place p in the order runs out at turn count * classes + p.
    return [count * len(counts) + place for place, count in enumerate(counts)]


def _shuffled(ids: list[str], seed: str) -> list[str]:
    found = sorted(ids)
    random.Random(seed).shuffle(found)  # noqa: S311
    return found


def _refuse_shortage(counts: Sequence[int], k: int, names: Sequence[str]) -> None:
    """Check that turns over classes with these counts, in this order, can give k texts."""
    runs_out = _runs_out(counts)
    largest = min(runs_out)
    if largest >= k:
        return
    place = runs_out.index(largest)
    even = largest - largest % 2
    few = {0: "no training text", 1: "only one training text"}
    slip = _slip(place, names) if 0 < counts[place] <= _RARE else ""
    raise DataError(
        f"{k} balanced texts can't be drawn: the class {names[place]!r} has "
        f"{few.get(counts[place], f'only {counts[place]} training texts')}.",
        f"{slip}The largest possible k is {even}: ask for that (-k {even}, or k in a grid), or "
        "give more texts of that class."
        if even
        else f"{slip}Give at least one training text of each class, or leave it out of the test "
        "texts and of the label names.",
    )


def _slip(place: int, names: Sequence[str]) -> str:
    """A hint that a label may be another one, misspelt; empty if it is like none."""
    others = [*names[:place], *names[place + 1 :]]
    near = difflib.get_close_matches(names[place], others, n=1, cutoff=_ALIKE)
    return f"If {names[place]!r} is a slip for {near[0]!r}, correct the data. " if near else ""
