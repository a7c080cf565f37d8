"""The measures of a run, read back and drawn as a table."""

from collections.abc import Callable, Sequence

from pydantic import ValidationError
from rich import box
from rich.markup import escape
from rich.table import Table

from codlocal.core.errors import RunError
from codlocal.core.run import RunFolder
from codlocal.verification.measures import Generation, Measures

GENERATION = "generation.json"

_DIRECTIONS = 4
"""A table has no room for more directions than this; `generation.json` has them all."""
_DIRECTIONS_OF_TWO = 2
"""How many directions two classes have."""

_ROWS: tuple[tuple[str, Callable[[Measures], str]], ...] = (
    ("originals", lambda one: str(one.originals)),
    ("replies", lambda one: str(one.candidates)),
    ("  unusable", lambda one: str(one.failed)),
    ("  flips", lambda one: _percent(one.flip_rate)),
    ("solved", lambda one: _percent(one.solved_rate)),
    ("  95% interval", lambda one: _interval(one.solved_interval)),
    ("good flips", lambda one: str(one.good.n)),
    ("  edit distance", lambda one: _number(one.good.edit_distance)),
    ("  |p - 0.5|", lambda one: _number(one.good.boundary_distance)),
    ("  perplexity ratio", lambda one: _number(one.good.perplexity_ratio)),
    ("  diversity", lambda one: _number(one.good.diversity)),
    ("pairs", lambda one: str(one.chosen.n)),
    ("  edit distance", lambda one: _number(one.chosen.edit_distance)),
    ("  |p - 0.5|", lambda one: _number(one.chosen.boundary_distance)),
    ("  perplexity ratio", lambda one: _number(one.chosen.perplexity_ratio)),
    ("  diversity", lambda one: _number(one.chosen.diversity)),
    ("  tokens a pair", lambda one: _number(one.tokens_per_pair, 0)),
    ("  seconds a pair", lambda one: _number(one.seconds_per_pair, 1)),
)


def read_generation(run: RunFolder) -> Generation:
    """The content of `generation.json`.

    Raises:
        RunError: it is missing or damaged.

    """
    path = run.file(GENERATION)
    try:
        return Generation.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise RunError(
            f"{path} is {'damaged' if path.exists() else 'missing'}.",
            f"Run `codlocal verify --run {run.path}`, with --redo verify if that stage is done.",
        ) from error


def table(generation: Generation, others: Sequence[Measures] = ()) -> Table:
    """Draw the measures, a column each for all candidates, every round and every direction.

    Args:
        generation: of a run.
        others: further columns, such as people's pairs.

    """
    directions = generation.directions if len(generation.directions) <= _DIRECTIONS else ()
    columns = [generation.total, *others, *generation.rounds, *directions]
    drawn = Table(title="Counterfactuals", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    drawn.add_column("", no_wrap=True)
    for one in columns:
        drawn.add_column(escape(one.name), justify="right", overflow="fold")
    for heading, cell in _ROWS:
        drawn.add_row(heading, *(cell(one) for one in columns))
    drawn.caption = "solved: with a good flip; medians over good flips and over pairs"
    if len(generation.directions) > _DIRECTIONS_OF_TWO:
        drawn.caption += "\n|p - 0.5|: half the gap of the two likeliest classes"
    if generation.directions and not directions:
        drawn.caption += f"\n{len(generation.directions)} directions: in {GENERATION}"
    if others:
        drawn.caption += "\npeople's flips all count as good, as no limit is held to them"
    if any(one.good.n and one.good.perplexity_ratio is None for one in others):
        drawn.caption += "\n--perplexity has the run's generator score people's pairs, too"
    return drawn


def _number(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


def _interval(bounds: tuple[float, float] | None) -> str:
    return "-" if bounds is None else f"{100 * bounds[0]:.0f}-{bounds[1]:.0%}"
