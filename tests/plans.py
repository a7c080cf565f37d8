"""Parts of a candidate search in which a test names only what it is about."""

from collections.abc import Callable
from typing import Any

from codlocal.core.records import Candidate, Verdict
from codlocal.generation import prompts
from codlocal.generation.engines.engine import Sampling
from codlocal.generation.history import Alike, Goal
from codlocal.generation.plan import Planner
from codlocal.generation.stage import Verification


def planner_of(**changes: Any) -> Planner:
    """A planner of prompts with blanks, without bounds, known edits or other tasks."""
    plain = {
        "template": prompts.load("sentiment"), "label_names": ("negative", "positive"),
        "candidates": 8, "sampling": Sampling(), "fill": True, "others": (),
        "edits": lambda _task: (), "most": None, "span_words": None, "tokens": lambda _id: 0,
        "apart": False,
    }  # fmt: skip
    return Planner(**{**plain, **changes})


def same_text(_original: str, first: str, second: str) -> bool:
    """The least that makes two edits alike."""
    return first == second


def flipped(_row: Candidate, verdict: Verdict) -> bool:
    """The least that makes an edit good."""
    return verdict.flipped


def goal_of(
    good: Callable[[Candidate, Verdict], bool] = flipped,
    flips: int = 1,
    alike: Alike = same_text,
    *,
    as_asked: bool = False,
) -> Goal:
    """A search that ends with the first flip."""
    return Goal(good, flips, alike, as_asked)


def verification_with(judge: Any, learn: Any) -> Verification:
    """A verify stage that could use every text, and whose every good flip ends a search."""

    def both(originals: Any) -> Any:
        good = learn(originals)
        return good, good

    return Verification(judge, both, lambda _text: False, same_text)
