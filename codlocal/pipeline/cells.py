"""The cells of a grid, and the runs that share what they need: data, teacher, counterfactuals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codlocal.core import hashing, paths
from codlocal.core.config import Config, listed, resolve
from codlocal.core.errors import ConfigError
from codlocal.core.run import RunFolder
from codlocal.distillation.arms import ARMS, UNSCREENED, Arm, heeded
from codlocal.evaluation.comparison import by_arm, of_counterfactuals
from codlocal.evaluation.results import CellResult
from codlocal.models import locate
from codlocal.pipeline.grid import Grid, combinations

_ORDER = "generator.select_originals"
_OFF_CURVE = {"k", "seed", "path"}


@dataclass(frozen=True)
class Cell:
    """One result to be had.

    Attributes:
        key: a hash of all settings of its place in the grid.
        work: a hash of those that its figures depend on: peers have the same ones whatever the
            method, and cells of the same work share them.
        curve: a hash of the settings that the points of its curve, over k and seeds, have in
            common. Where a file of one's own lies is none of them.
        config: the settings, with k and the seed of the cell.
        arm: a name in `ARMS`.
        settings: the values of the grid's further axes, None where one does not touch the cell.

    """

    key: str
    work: str
    curve: str
    config: Config
    arm: str
    settings: dict[str, Any]

    def shares(self, result: CellResult) -> CellResult:
        """The cell's row with the figures of another cell of the same work."""
        blank = self.blank
        place = blank.model_dump(include={"key", "curve", "method", "settings"})
        return result.model_copy(update=place)

    @property
    def blank(self) -> CellResult:
        """The cell's row without any figure."""
        config = self.config
        return CellResult(
            key=self.key,
            curve=self.curve,
            dataset=config.dataset.name,
            generator=config.generator.model if ARMS[self.arm].counterfactuals else None,
            method=config.distillation.method,
            arm=self.arm,
            k=config.dataset.k,
            seed=config.dataset.seed,
            settings=self.settings,
        )


@dataclass(frozen=True)
class Source:
    """A run, up to its verify stage, that serves the cells of one dataset and one generator.

    Attributes:
        key: a hash of its settings; names its folder.
        config: its settings, with the largest k and all seeds: smaller ones are nested in it.
        lender: a finished run whose counterfactuals it takes, or None to write its own.
        cells: what it serves.

    """

    key: str
    config: Config
    lender: Path | None
    cells: list[Cell] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Its folder's name."""
        return paths.folder_name(f"{self.config.dataset.name}-{self.key[:12]}")

    @property
    def generates(self) -> bool:
        """Whether any of its cells needs counterfactuals."""
        return any(ARMS[cell.arm].counterfactuals for cell in self.cells)


def plan(grid: Grid) -> list[Source]:
    """All cells of a grid, each once, by the run that serves them.

    Raises:
        ConfigError: settings are wrong, a run of `pairs_from` fits no part of the grid, or an axis
            was to change its counterfactuals, a tracker's curves would be lost, or the cells could
            not be compared: the texts of a smaller k would be no prefix of those of a larger one, a
            student would see more than k texts, or edits that are to show what verification is
            worth were chosen by the teacher.
        RunError: results of unequal cells could not be told apart.

    """
    found = combinations(grid)
    _refuse_unequal(grid, [config for config, _ in found])
    lenders = _lenders(grid, [config for config, _ in found])
    _refuse_screened(grid, [config for config, _ in found], lenders)
    sources: dict[str, Source] = {}
    seen: set[str] = set()
    for config, varied in found:
        lender = lenders.get(_served(config))
        key = _source_key(config, lender)
        source = sources.setdefault(key, Source(key, config, lender))
        making = _Making(key, _other_search(config, lender) if lender else {})
        cells = _cells(grid, config, varied, making)
        cells = [cell for cell in cells if cell.key not in seen]
        seen.update(cell.key for cell in cells)
        source.cells.extend(cells)
    used = [source for source in sources.values() if source.cells]
    by_arm(cell.blank for source in used for cell in source.cells)
    return used


def _refuse_unequal(grid: Grid, configs: Sequence[Config]) -> None:
    if any(config.generator.budget == "max" for config in configs):
        raise ConfigError(
            'The arms of a grid have k texts each: budget = "max" would change nothing.',
            "Leave budget out, and try it with `codlocal pipeline --budget max`.",
        )
    if any(config.verification.per_example > 1 for config in configs):
        raise ConfigError(
            "The students of a grid get one counterfactual of an original: more than one "
            "verification.per_example would only cost time.",
            "Leave it out, and try it with `codlocal pipeline --budget max --cfe-per-example N`.",
        )
    if any(config.runtime.tracker != "none" for config in configs):
        raise ConfigError(
            "The students of a sweep are dropped when they are scored, and a tracker's curves with "
            "them.",
            "Leave runtime.tracker out, and draw those of a run: `codlocal pipeline --tracker …`.",
        )
    served = any(config.runtime.server_url for config in configs)
    if served and len({config.generator.model for config in configs}) > 1:
        raise ConfigError(
            "All generators of the grid would be the one of runtime.server_url.",
            "Leave runtime.server_url out: each generator gets a server of its own. Or name one "
            "generator.",
        )
    active = any(config.generator.select_originals == "active" for config in configs)
    if active and len(set(grid.k)) > 1:
        raise ConfigError(
            'select_originals = "active" orders the texts of one k: several are not nested.',
            "Give the grid a single k, or leave select_originals out.",
        )


def _refuse_screened(
    grid: Grid, configs: Sequence[Config], lenders: dict[tuple[str, str], Path]
) -> None:
    arms = [name for name in dict.fromkeys(grid.arm) if ARMS[name].unscreened]
    if not arms:
        return
    for config in configs:
        lender = lenders.get(_served(config))
        made = lent(lender) if lender else config
        if made.generator.rounds[0] not in UNSCREENED:
            others = " or ".join(UNSCREENED)
            instead = (
                "lend from a run that begins with" if lender else "begin generator.rounds with"
            )
            raise ConfigError(
                f"The arm {arms[0]} needs edits that the teacher had no say in, but the first "
                f"round of {lender or config.dataset.name} is {made.generator.rounds[0]}: its "
                "edits flip.",
                f"Leave {' and '.join(arms)} out, or {instead} {others}.",
            )


def lent(lender: Path) -> Config:
    """The settings of a run of `pairs_from`."""
    return resolve([RunFolder.saved_settings(lender) or {}])


@dataclass(frozen=True)
class _Making:
    """Whence counterfactuals are: the key of their run, and their search if it isn't the grid's."""

    run: str = ""
    search: Mapping[str, Any] = field(default_factory=dict)


def _other_search(config: Config, lender: Path) -> Mapping[str, Any]:
    """How lent counterfactuals were searched for, unless that is as the grid would have it."""
    own, other = (
        {"generator": one.generator.model_dump(mode="json"), **one.steering("generate")}
        for one in (config, lent(lender))
    )
    return {} if own == other else {"lent": other}


def _source_key(config: Config, lender: Path | None) -> str:
    return hashing.of_value([config.stage_settings("verify"), str(lender) if lender else None])


def _cells(grid: Grid, config: Config, varied: dict[str, Any], making: _Making) -> list[Cell]:
    seeds = config.dataset.all_seeds
    return [
        _cell(config, arm, (k, seed), varied, making)
        for k in sorted(set(grid.k))
        for seed in seeds
        for arm in dict.fromkeys(grid.arm)
    ]


def _cell(
    config: Config, arm: str, place: tuple[int, int], varied: dict[str, Any], making: _Making
) -> Cell:
    """One cell: its key is of all settings that touch the arm, its other hashes of fewer."""
    k, seed = place
    dataset = config.dataset.model_copy(update={"k": k, "seed": seed, "seeds": 1})
    own = config.model_copy(update={"dataset": dataset})
    made = ARMS[arm]
    whole = _touching(own, made)
    learned = {**whole, "distillation": heeded(made, own.distillation)}
    texts = {it: value for it, value in whole["dataset"].items() if it not in _OFF_CURVE}
    whence = making if made.counterfactuals else _Making()
    return Cell(
        key=hashing.of_value([whole, arm, whence.run]),
        work=hashing.of_value([learned, arm, whence.run]),
        curve=hashing.of_value([{**whole, "dataset": texts, **whence.search}, arm]),
        config=own,
        arm=arm,
        settings={axis: value if _touches(axis, made) else None for axis, value in varied.items()},
    )


def _touching(config: Config, arm: Arm) -> dict[str, Any]:
    sections = config.model_dump(mode="json", exclude={"profile", "runtime"})
    found = {name: section for name, section in sections.items() if _touches(name, arm)}
    return found | ({_ORDER: config.generator.select_originals} if arm.ordered else {})


def _touches(name: str, arm: Arm) -> bool:
    """Whether a setting, or a section, can change what becomes of an arm."""
    touched = arm.counterfactuals or not of_counterfactuals(name)
    return touched or (arm.ordered and name == _ORDER)


def _served(config: Config) -> tuple[str, str]:
    return config.dataset.name, locate.anchored(config.generator.model)


def _lenders(grid: Grid, configs: Sequence[Config]) -> dict[tuple[str, str], Path]:
    """The runs of `pairs_from` by the dataset and the generator that they serve."""
    wanted = {_served(config) for config in configs}
    lenders: dict[tuple[str, str], Path] = {}
    mistakes = []
    for name in grid.pairs_from:
        path = Path(paths.absolute(name))
        saved = RunFolder.saved_settings(path)
        if saved is None or not RunFolder(path, Config()).is_done("generate"):
            mistakes.append(f"pairs_from: {name} is no run with counterfactuals.")
            continue
        serves = _served(lent(path))
        if serves not in wanted:
            mistakes.append(f"pairs_from: {name} is of {' and '.join(serves)}, not of this grid.")
        elif serves in lenders:
            mistakes.append(f"pairs_from: {name} and {lenders[serves]} are of the same part.")
        lenders[serves] = path
    idle = [axis for axis in grid.axes if axis.startswith("generator.") and axis != _ORDER]
    if idle and lenders:
        mistakes.append(f"pairs_from: counterfactuals that are there know no {' and '.join(idle)}.")
    if mistakes:
        raise ConfigError(
            listed("The grid", mistakes),
            "Give finished runs, one for each part, and no axes of the generator.",
        )
    return lenders
