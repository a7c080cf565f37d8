"""The grid of an ablation: a TOML file, checked as a whole before anything runs.

`codlocal ablate --help` shows one. Every combination is a cell. `vary` makes an axis of any other
setting, `settings` holds for all cells, and `pairs_from` names runs whose counterfactuals are used
instead of new ones. A dataset of one's own is a table of `dataset` settings, with its `prompt`
where it needs one. Relative paths start from the current directory, as those of options do,
wherever the grid lies.
"""

from collections.abc import Iterator, Mapping
from functools import reduce
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from codlocal.core import config as configuration
from codlocal.core import paths
from codlocal.core.config import Config, listed, problems
from codlocal.core.errors import CodlocalError, ConfigError
from codlocal.core.sections import Count, DatasetConfig, Positive, Section
from codlocal.data import registry
from codlocal.data.files import refuse_missing
from codlocal.distillation.arms import ARMS
from codlocal.generation import prompts
from codlocal.models.locate import check_folder


def _as_list(value: object) -> object:
    """One value of an axis may be written without brackets."""
    return value if isinstance(value, list | tuple) else [value]


_Listed = BeforeValidator(_as_list)
Names = Annotated[tuple[str, ...], _Listed]
Values = Annotated[tuple[Any, ...], _Listed, Field(min_length=1)]

_PLACES = {
    "dataset.name": "dataset",
    "dataset.k": "k",
    "dataset.seed": "seed",
    "dataset.seeds": "seeds",
    "generator.model": "generator",
    "distillation.method": "method",
}
"""Settings that a key of the grid decides, so that `settings` and `vary` can't."""


class Grid(Section):
    """The content of a grid file. `method` and `generator` are the profile's if left out."""

    profile: str = "default"
    dataset: Annotated[tuple[str | dict[str, Any], ...], _Listed, Field(min_length=1)]
    k: Annotated[tuple[int, ...], _Listed, Field(min_length=1)]
    seed: Count = 0
    seeds: Positive = 5
    method: Names = ()
    arm: Annotated[Names, Field(min_length=1)] = ("student", "baseline")
    generator: Names = ()
    vary: dict[str, dict[str, Values]] = Field(default_factory=dict)
    settings: dict[str, dict[str, Any]] = Field(default_factory=dict)
    pairs_from: Names = ()

    @field_validator("dataset")
    @classmethod
    def _told_apart(
        cls, entries: tuple[str | dict[str, Any], ...]
    ) -> tuple[str | dict[str, Any], ...]:
        layers: dict[str, Mapping[str, Any]] = {}
        for layer in map(_dataset, entries):
            name = str(layer["dataset"].get("name", DatasetConfig().name))
            if layers.setdefault(name, layer) != layer:
                raise ValueError(
                    f"two are called {name!r}, so that their results would be mixed; give one "
                    'another name: { name = "mine", path = … }'
                )
        return entries

    @field_validator("dataset")
    @classmethod
    def _of_one_size(
        cls, entries: tuple[str | dict[str, Any], ...]
    ) -> tuple[str | dict[str, Any], ...]:
        given = {key for entry in entries if not isinstance(entry, str) for key in entry}
        lost = [key for key in ("k", "seed", "seeds") if key in given]
        if lost:
            told = ", ".join(f"`{key}`" for key in lost)
            raise ValueError(f"the grid decides these itself: give {told} outside of a dataset")
        return entries

    @field_validator("arm")
    @classmethod
    def _known_arms(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in names if name not in ARMS]
        if unknown:
            raise ValueError(f"no such arm: {', '.join(unknown)}; arms are {', '.join(ARMS)}")
        return names

    @field_validator("vary")
    @classmethod
    def _varied(cls, vary: dict[str, dict[str, Values]]) -> dict[str, dict[str, Values]]:
        if "runtime" in vary:
            raise ValueError("runtime settings say how a run is executed, and make no axis")
        for name in (f"{section}.{key}" for section, keys in vary.items() for key in keys):
            if name in _PLACES:
                raise ValueError(f"{name} has an axis of its own, outside of vary")
        return vary

    @field_validator("k")
    @classmethod
    def _usable_k(cls, sizes: tuple[int, ...]) -> tuple[int, ...]:
        wrong = [str(k) for k in sizes if k < 2 or k % 2]
        if wrong:
            raise ValueError(f"{', '.join(wrong)}: every k is even, and at least 2")
        return sizes

    @model_validator(mode="after")
    def _settings_count(self) -> "Grid":
        given = {f"{section}.{key}" for section, keys in self.settings.items() for key in keys}
        lost = [name for name in _PLACES if name in given and getattr(self, _PLACES[name]) != ()]
        if lost:
            told = ", ".join(f"{name} as `{_PLACES[name]}`" for name in lost)
            raise ValueError(f"the grid decides these itself: give {told}, outside of settings")
        return self

    @property
    def axes(self) -> dict[str, tuple[Any, ...]]:
        """The axes of `vary`, as `section.key` and their values."""
        return {
            f"{section}.{key}": values
            for section, keys in self.vary.items()
            for key, values in keys.items()
        }


def read_grid(path: Path, assignments: Mapping[str, Any]) -> Grid:
    """Read a grid file; `assignments` are laid over its `settings`.

    Raises:
        ConfigError: it can't be read, or has mistakes; the message lists every one.

    """
    content = configuration.read_toml(path)
    if isinstance(content.get("settings", {}), dict):
        content["settings"] = configuration.merge(content.get("settings", {}), assignments)
    try:
        return Grid.model_validate(content)
    except ValidationError as error:
        raise ConfigError(listed(str(path), problems(error)), _HINT) from error


_HINT = "`codlocal ablate --help` shows a grid."


def combinations(grid: Grid) -> list[tuple[Config, dict[str, Any]]]:
    """The configurations of a grid, of the largest k and all seeds, with their `vary` values.

    Raises:
        ConfigError: some are wrong; the message lists every mistake once.

    """
    found: list[tuple[Config, dict[str, Any]]] = []
    mistakes: dict[str, None] = {}
    for layers, varied in _layers(grid):
        try:
            config = Config.model_validate(reduce(configuration.merge, layers))
            _refuse_unknown(config)
        except ValidationError as error:
            mistakes.update(dict.fromkeys(problems(error)))
        except CodlocalError as error:
            mistakes[f"{error.message} {error.hint}"] = None
        else:
            found.append((config, varied))
    if mistakes:
        raise ConfigError(listed("The grid", list(mistakes)), _HINT)
    return found


def _refuse_unknown(config: Config) -> None:
    """Refuse names for which there is nothing: of a dataset, its file, a prompt, a student."""
    if config.dataset.path is None:
        registry.find(config.dataset.name)
    else:
        refuse_missing(Path(paths.absolute(config.dataset.path)))
    if config.generator.prompt:
        prompts.load("", config.generator.prompt)
    if config.generator.confused_student:
        check_folder(Path(config.generator.confused_student))


def _layers(grid: Grid) -> Iterator[tuple[list[Mapping[str, Any]], dict[str, Any]]]:
    profile = configuration.profile_settings(grid.profile)
    common: list[Mapping[str, Any]] = [
        profile,
        grid.settings,
        {"dataset": {"k": max(grid.k), "seed": grid.seed, "seeds": grid.seeds}},
    ]
    axes = product(
        grid.dataset, grid.generator or [None], product(*grid.axes.values()), grid.method or [None]
    )
    for dataset, generator, values, method in axes:
        varied = dict(zip(grid.axes, values, strict=True))
        layers = [*common, _dataset(dataset)]
        layers += [{"generator": {"model": generator}}] if generator else []
        layers += [{"distillation": {"method": method}}] if method else []
        yield [*layers, *(_nested(name, value) for name, value in varied.items())], varied


def _dataset(entry: str | Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings of an entry: a name, or a table of `dataset` settings and its own prompt."""
    if isinstance(entry, str):
        return {"dataset": {"name": entry}}
    chosen = dict(entry)
    layer: dict[str, Any] = {}
    if "prompt" in chosen:
        layer["generator"] = {"prompt": prompts.anchored(str(chosen.pop("prompt")))}
    if "path" in chosen:
        chosen["path"] = paths.absolute(str(chosen["path"]))
        chosen.setdefault("name", Path(chosen["path"]).stem)
    return {**layer, "dataset": chosen}


def _nested(name: str, value: object) -> dict[str, Any]:
    section, key = name.split(".", 1)
    return {section: {key: value}}
