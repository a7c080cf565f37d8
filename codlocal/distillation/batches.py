"""Mini-batches that keep an original and its counterfactual together."""

import random
from collections.abc import Iterator, Sequence


def pair_batches(
    groups: Sequence[Sequence[int]], batch_size: int, steps: int, seed: int
) -> Iterator[list[int]]:
    """Yield `steps` batches of indices; the members of a group are always in one batch.

    Every epoch goes once through all groups in an order drawn from the seed and the epoch's
    number, so that batch n is the same however often training was interrupted.

    Raises:
        ValueError: there are no groups, or one is larger than a batch.

    """
    if not groups or max(map(len, groups)) > batch_size:
        raise ValueError(f"{len(groups)} groups do not fit into batches of {batch_size}")
    given = 0
    epoch = 0
    while True:
        for batch in _epoch(groups, batch_size, random.Random(f"{seed}/{epoch}")):  # noqa: S311
            if given == steps:
                return
            yield batch
            given += 1
        epoch += 1


def _epoch(
    groups: Sequence[Sequence[int]], batch_size: int, rng: random.Random
) -> Iterator[list[int]]:
    waiting = [list(group) for group in groups]
    rng.shuffle(waiting)
    waiting.reverse()  # what comes next is at the end, whence it is taken without moving the rest
    smallest = min(map(len, waiting))
    batch: list[int] = []
    while waiting:
        room = batch_size - len(batch)
        # A pair that no longer fits waits for the next batch; a later single may fill this one.
        places = reversed(range(len(waiting))) if room >= smallest else ()
        place = next((i for i in places if len(waiting[i]) <= room), None)
        if place is None:
            yield batch
            batch = []
        else:
            batch += waiting.pop(place)
    yield batch
