"""The configuration of a run: defaults < profile < saved run < --config < --set < options.

Each section is one frozen model (`core.sections`); `Config.stage_settings` says which settings
make a stage's output, so that a changed setting is noticed before old and new rows are mixed.
"""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError, model_validator

from codlocal.core.errors import ConfigError
from codlocal.core.sections import (
    DatasetConfig,
    DistillationConfig,
    GeneratorConfig,
    RuntimeConfig,
    Section,
    TeacherConfig,
    VerificationConfig,
)

_STEERING = {"per_example", "max_edit_distance", "fluency_quantile", "fluency_slack"}

_OF_ONE_MACHINE = {
    "engine_python", "port", "replay", "server_arguments", "server_url", "tracker"
}  # fmt: skip
"""Of the runtime section: which programs are run here, and who is told of texts or asked."""

STAGES = ("data", "teacher", "generate", "verify", "distill", "evaluate")


class Config(Section):
    """Everything a run is made of."""

    profile: str = "default"
    dataset: DatasetConfig = DatasetConfig()
    teacher: TeacherConfig = TeacherConfig()
    generator: GeneratorConfig = GeneratorConfig()
    verification: VerificationConfig = VerificationConfig()
    distillation: DistillationConfig = DistillationConfig()
    runtime: RuntimeConfig = RuntimeConfig()

    @model_validator(mode="after")
    def _groups_fit_into_batches(self) -> "Config":
        group = self.verification.per_example + 1
        if self.generator.budget == "max" and group > self.distillation.batch_size:
            raise ValueError(
                f"distillation.batch_size must be at least {group}: an original and its "
                f"{group - 1} counterfactuals stay together"
            )
        return self

    @model_validator(mode="after")
    def _servers_are_vllm(self) -> "Config":
        if self.runtime.server_url and self.generator.engine != "vllm":
            raise ValueError(
                f'generator.engine "{self.generator.engine}" would not be used: '
                "runtime.server_url is asked instead"
            )
        return self

    def stage_settings(self, stage: str) -> dict[str, Any]:
        """The settings that decide a stage's output, those of the stages before it included."""
        sections = {
            "data": ["dataset"],
            "teacher": ["dataset", "teacher"],
            "generate": ["dataset", "teacher", "generator"],
            "verify": ["dataset", "teacher", "generator", "verification"],
            "distill": ["dataset", "teacher", "generator", "verification", "distillation"],
        }
        names = sections.get(stage, sections["distill"])
        return {name: getattr(self, name).model_dump(mode="json") for name in names}

    def steering(self, stage: str) -> dict[str, Any]:
        """The settings of later stages that a stage heeds while it runs.

        The search for counterfactuals ends at what verification would take. Its rows are whole
        under other settings too, but they are never continued under others.
        """
        if stage != "generate":
            return {}
        return {"verification": self.verification.model_dump(mode="json", include=_STEERING)}

    def to_toml(self) -> str:
        """The configuration as TOML; settings that are None are left out."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))


def profile_names() -> list[str]:
    """The names of the profiles that come with the package."""
    folder = resources.files("codlocal.core") / "profiles"
    return sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".toml"))


def profile_settings(name: str) -> dict[str, Any]:
    """The settings of one profile.

    Raises:
        ConfigError: there is no such profile.

    """
    if name not in profile_names():
        raise ConfigError(
            f"There is no profile {name!r}.", f"Profiles: {', '.join(profile_names())}."
        )
    text = (resources.files("codlocal.core") / "profiles" / f"{name}.toml").read_text("utf-8")
    return {"profile": name, **tomllib.loads(text)}


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file of settings.

    Raises:
        ConfigError: the file is missing or is not TOML.

    """
    try:
        return tomllib.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError as error:
        raise ConfigError(
            f"There is no configuration file {path}.", "Is its name spelled so, and in this folder?"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"{path} is not a readable TOML file: {error}.",
            "Correct it where that says, or restore it from a copy.",
        ) from error


def read_file(path: Path) -> dict[str, Any]:
    """Read the settings of a `--config` file.

    A run's own file, which may be somebody else's, has no say in what this machine runs and whom
    it asks.

    Raises:
        ConfigError: the file is missing or is not TOML.

    """
    layer = read_toml(path)
    runtime = layer.get("runtime")
    if isinstance(runtime, dict) and (path.name == "run.toml" or is_whole(layer)):
        usual = RuntimeConfig().model_dump(include=_OF_ONE_MACHINE, exclude_none=True)
        kept = {name: value for name, value in runtime.items() if name not in _OF_ONE_MACHINE}
        layer["runtime"] = {**kept, **usual}
    return layer


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """Turn `section.key=value` words into nested settings; values are TOML, else plain text.

    No value unsets what need not be set.

    Raises:
        ConfigError: an assignment has no `=` or no section.

    """
    settings: dict[str, Any] = {}
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        section, _, key = path.strip().partition(".")
        if not (equals and section and key):
            raise ConfigError(
                f"--set {assignment!r} is not of the form section.key=value.",
                "For example: --set distillation.steps=200",
            )
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except (ValueError, RecursionError):
            value = text.strip() or None
        settings.setdefault(section, {})[key] = value
    return settings


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one nested mapping over another."""
    merged = dict(base)
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = value
    return merged


def resolve(layers: Iterable[Mapping[str, Any]]) -> Config:
    """Merge layers of settings, later ones over earlier ones, and check them all at once.

    Raises:
        ConfigError: one or more settings are wrong; the message lists every one.

    """
    merged: dict[str, Any] = {}
    bare: dict[str, Any] = {}  # a section's name with a value of its own: merging would lose either
    for layer in layers:
        merged = merge(merged, layer)
        bare |= {name: one for name, one in layer.items() if not isinstance(one, Mapping)}
    try:
        return Config.model_validate({**merged, **bare})
    except ValidationError as error:
        raise ConfigError(
            listed("The configuration", problems(error)),
            "`codlocal pipeline --help` lists the options, the README the settings.",
        ) from error


def is_whole(layer: Mapping[str, Any]) -> bool:
    """Whether settings are all that a run has, as in its run.toml: what they lack is None."""
    return _names(layer) >= _names(Config().model_dump(exclude_none=True))


def _names(layer: Mapping[str, Any]) -> set[str]:
    found: set[str] = set()
    for name, section in layer.items():
        found |= {f"{name}.{key}" for key in section} if isinstance(section, Mapping) else {name}
    return found


def problems(error: ValidationError) -> list[str]:
    """What is wrong with a model's fields, one line each: `section.key: reason`."""
    found = []
    for one in error.errors():
        unknown = one["type"] == "extra_forbidden"
        reason = "no such setting" if unknown else one["msg"].removeprefix("Value error, ")
        place = ".".join(map(str, one["loc"]))
        found.append(f"{place}: {reason}" if place else reason)
    return found


def listed(what: str, found: Sequence[str]) -> str:
    """A message that gives every mistake of something a line."""
    return f"{what} has {'a mistake' if len(found) == 1 else 'mistakes'}:\n  " + "\n  ".join(found)


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The settings in which two nested mappings differ, as `section.key: old -> new`."""
    found: list[str] = []
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += differences(before, after, f"{prefix}{key}.")
        elif before != after:
            found.append(f"{prefix}{key}: {before} -> {after}")
    return found
