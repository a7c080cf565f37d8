"""Verdicts and measures in which a test names only what it is about."""

from codlocal.core.records import Verdict
from codlocal.verification.measures import Closeness, Generation, Measures


def verdict_with(**fields) -> Verdict:
    """A verdict without objections, of unknown lengths, but for `fields`."""
    nothing = {"length": 0, "original_length": 0, "unknown": (), "repeated": (), "broken_off": ()}
    return Verdict(**{**nothing, **fields})


def generation_with(pairs: int) -> Generation:
    """Measures of four originals, of which that many have a pair."""
    none = dict.fromkeys(("edit_distance", "boundary_distance", "perplexity_ratio", "diversity"))
    chosen = none | {"boundary_distance": 0.4, "perplexity_ratio": 1.5}
    total = Measures(
        name="all", originals=4, candidates=20, failed=0, flips=5, flip_rate=0.25, solved=4,
        solved_rate=1.0, solved_interval=(0.5, 1.0), good=Closeness(n=5, **none),
        chosen=Closeness(n=pairs, **chosen), tokens_per_pair=None, seconds_per_pair=None,
    )  # fmt: skip
    return Generation(total=total, rounds=(), directions=())
