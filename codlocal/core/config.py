"""The configuration of a run: defaults < profile < saved run < --config < --set < options.

Each section is one frozen model; `Config.stage_fingerprints` says which settings make a stage's
output, so that a changed setting is noticed before old and new rows are mixed. `runtime` holds
what changes how a run is executed, never what it computes.
"""

import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from codlocal.core import hashing
from codlocal.core.errors import ConfigError

STAGES = ("data", "teacher", "generate", "verify", "distill", "evaluate")

Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DatasetConfig(_Section):
    """Which texts, how many of them, and for which seeds."""

    name: str = "yelp"
    path: str | None = None
    source: Literal["auto", "bundled", "cache", "hub"] = "auto"
    text_column: str = "text"
    label_column: str = "label"
    label_names: tuple[str, ...] | None = None
    k: Annotated[int, Field(ge=2, description="labelled texts per student")] = 32
    seed: Annotated[int, Field(ge=0)] = 0
    seeds: Positive = 1

    @model_validator(mode="after")
    def _k_is_even(self) -> "DatasetConfig":
        if self.k % 2:
            raise ValueError(f"k must be even (half originals, half counterfactuals), not {self.k}")
        return self

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """The seeds of the run, in order."""
        return tuple(range(self.seed, self.seed + self.seeds))


class TeacherConfig(_Section):
    """The classifier to copy, and how to fine-tune it where it has no head yet."""

    model: str = "microsoft/deberta-v3-base"
    epochs: Positive = 3
    batch_size: Positive = 32
    learning_rate: Rate = 2e-5
    max_length: Positive = 256
    seed: int = 0


class GeneratorConfig(_Section):
    """The model that writes counterfactuals, and how it is asked."""

    engine: Literal["vllm", "transformers"] = "vllm"
    model: str = "Qwen/Qwen2.5-7B-Instruct"
    prompting: Literal["chat", "completion"] = "chat"
    prompt: str | None = None
    candidates: Positive = 8
    rounds: tuple[Literal["guided", "wide", "free"], ...] = ("guided", "wide", "free")
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.7
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    max_tokens: Annotated[int, Field(ge=16)] = 256
    seed: int = 0


class VerificationConfig(_Section):
    """Which verified flips are good enough, and which of them is taken."""

    max_edit_distance: Annotated[float, Field(gt=0)] = 0.6
    fluency_quantile: Annotated[float, Field(ge=0, lt=1)] = 0.05
    fluency_slack: Annotated[float, Field(ge=0)] = 1.5
    fluency_weight: Annotated[float, Field(ge=0)] = 0.02
    min_pairs: Annotated[int, Field(ge=0)] = 1


class DistillationConfig(_Section):
    """How the student starts and is trained (METHOD 1): CE on the teacher's label plus KL at T.

    `student_layers` defaults to all layers of a pretrained student, and to half of the teacher's
    where the student is made of them.
    """

    method: Literal["kd", "lwd"] = "kd"
    student: str = "microsoft/deberta-v3-small"
    student_init: Literal["pretrained", "teacher"] = "pretrained"
    student_layers: Positive | None = None
    warm_start: Literal["none", "head"] = "none"
    steps: Positive = 600
    batch_size: Annotated[int, Field(ge=2)] = 8
    learning_rate: Rate = 6e-5
    temperature: Rate = 2.0
    kl_weight: Annotated[float, Field(ge=0)] = 20.0
    layer_weight: Annotated[float, Field(ge=0)] = 20.0
    interpolation_weight: Annotated[float, Field(ge=0)] = 0.0
    max_length: Positive = 256
    hard_labels: Literal["teacher", "gold"] = "teacher"
    baseline: bool = True


class RuntimeConfig(_Section):
    """How the run is executed here; never part of what it computes."""

    offline: bool = False
    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    threads: Annotated[int, Field(ge=0, description="CPU threads; 0: half of the cores")] = 0
    max_model_len: Positive = 2048
    concurrency: Positive = 32
    server_url: str | None = None
    engine_python: str | None = None
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    server_timeout: Rate = 900.0
    checkpoint_steps: Positive = 200


class Config(_Section):
    """Everything a run is made of."""

    profile: str = "default"
    dataset: DatasetConfig = DatasetConfig()
    teacher: TeacherConfig = TeacherConfig()
    generator: GeneratorConfig = GeneratorConfig()
    verification: VerificationConfig = VerificationConfig()
    distillation: DistillationConfig = DistillationConfig()
    runtime: RuntimeConfig = RuntimeConfig()

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

    def fingerprint(self, stage: str) -> str:
        """A hash of `stage_settings`: equal fingerprints mean that the output can be reused."""
        return hashing.of_value(self.stage_settings(stage))

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
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"There is no configuration file {path}.") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} is not a readable TOML file: {error}.") from error


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """Turn `section.key=value` words into nested settings; values are TOML, else plain text.

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
        except tomllib.TOMLDecodeError:
            value = text
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
    for layer in layers:
        merged = merge(merged, layer)
    try:
        return Config.model_validate(merged)
    except ValidationError as error:
        problems = [_problem(found["loc"], found["msg"]) for found in error.errors()]
        raise ConfigError(
            "The configuration has "
            + ("a mistake" if len(problems) == 1 else "mistakes")
            + ":\n  "
            + "\n  ".join(problems),
            "`codlocal pipeline --help` lists the options, the README the settings.",
        ) from error


def _problem(place: tuple[int | str, ...], message: str) -> str:
    return f"{'.'.join(map(str, place))}: {message.removeprefix('Value error, ')}"


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
