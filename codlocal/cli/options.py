"""The options that commands share, and the configuration that they add up to."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from os.path import normpath
from pathlib import Path
from typing import Any, TypeVar

from codlocal.cli.option_tables import GROUPS
from codlocal.core import config as settings
from codlocal.core import paths, processes
from codlocal.core.config import Config
from codlocal.core.console import SILENT, Console
from codlocal.core.errors import ConfigError
from codlocal.core.run import RunFolder
from codlocal.core.sections import OF_FILES, DatasetConfig
from codlocal.data import registry
from codlocal.models import locate

CommandT = TypeVar("CommandT", bound=Callable[..., Any])

_SETTINGS = {
    "dataset": "dataset.name",
    "data": "dataset.path",
    "text_column": "dataset.text_column",
    "label_column": "dataset.label_column",
    "source": "dataset.source",
    "k": "dataset.k",
    "seed": "dataset.seed",
    "seeds": "dataset.seeds",
    "teacher": "teacher.model",
    "teacher_quantization": "teacher.quantization",
    "generator": "generator.model",
    "engine": "generator.engine",
    "prompt": "generator.prompt",
    "budget": "generator.budget",
    "select_originals": "generator.select_originals",
    "candidates": "generator.candidates",
    "max_candidates": "generator.max_candidates",
    "max_tokens": "generator.max_tokens",
    "max_rounds": "generator.max_rounds",
    "temperature": "generator.temperature",
    "select": "verification.select",
    "cfe_per_example": "verification.per_example",
    "attribution": "generator.attribution",
    "targets": "generator.targets",
    "confused_student": "generator.confused_student",
    "student": "distillation.student",
    "student_init": "distillation.student_init",
    "student_layers": "distillation.student_layers",
    "warm_start": "distillation.warm_start",
    "pooling": "distillation.pooling",
    "method": "distillation.method",
    "quantization": "distillation.quantization",
    "steps": "distillation.steps",
    "baseline": "distillation.baseline",
    "tracker": "runtime.tracker",
    "offline": "runtime.offline",
    "device": "runtime.device",
    "concurrency": "runtime.concurrency",
    "server_url": "runtime.server_url",
    "replay": "runtime.replay",
    "engine_python": "runtime.engine_python",
    "port": "runtime.port",
}
"""Option name -> setting."""

_PATHS = (
    "dataset.path",
    "generator.confused_student",
    "runtime.replay",
    "runtime.engine_python",
)
_NO_FILE = DatasetConfig().model_dump(include={"path", *OF_FILES})
_MODELS = ("teacher.model", "generator.model", "distillation.student")
_PROMPTS = ("generator.prompt",)


def options(group: str) -> Callable[[CommandT], CommandT]:
    """Give a command the options of a group, in the order in which they are listed."""

    def decorate(command: CommandT) -> CommandT:
        for option in reversed(GROUPS[group]):
            command = option(command)
        return command

    return decorate


def console_of(given: Mapping[str, Any]) -> Console:
    """The console that `-q`, `-v` and `--json` ask for."""
    if not processes.is_first():
        return Console(SILENT)
    verbosity = -1 if given.get("quiet") else int(given.get("verbose") or 0)
    return Console(verbosity, as_json=bool(given.get("as_json")))


def config_of(given: Mapping[str, Any], saved: Mapping[str, Any] | None = None) -> Config:
    """The configuration that the options of a command ask for.

    The profile is that of the options, else that of the `--config` file.

    Args:
        given: the command's parameters.
        saved: the settings that the run folder was last used with.

    Raises:
        ConfigError: one or more settings are wrong, or an option would change nothing.
        DataError: there is no dataset of that name.

    """
    config = _resolved(given, saved)
    if config.dataset.path is None:
        registry.find(config.dataset.name)  # before there is a run folder for it
    _refuse_unused(given, config)
    return config


def _refuse_unused(given: Mapping[str, Any], config: Config) -> None:
    texts, replay = config.dataset.path, config.runtime.replay
    by_confusion = config.generator.targets == "confusion"
    for option, unused, reason, hint in (
        ("--source", texts, f"the texts are those of {texts}", "Leave it out."),
        ("--server-url", replay, f"the replies are taken from {replay}",
         "Leave it out, or ask the server with --set runtime.replay= instead of --replay."),
        ("--confused-student", not by_confusion, "no confusion is looked at",
         "Add --targets confusion, or leave it out."),
    ):  # fmt: skip
        if unused and given.get(option[2:].replace("-", "_")):
            raise ConfigError(f"{option} would not be used: {reason}.", hint)


def _resolved(given: Mapping[str, Any], saved: Mapping[str, Any] | None = None) -> Config:
    file = settings.read_file(given["config_file"]) if given.get("config_file") else {}
    profile = given.get("profile") or file.get("profile")
    chosen = [{name: section for name, section in file.items() if name != "profile"}]
    if given.get("dataset") and not given.get("data"):
        chosen.append({"dataset": _NO_FILE})  # whatever a saved run or a --config file had
    chosen.append(settings.parse_assignments(given.get("assignments") or ()))
    chosen.append(_from_options(given))
    layers = [_base(profile, file, saved), *map(_anchored, chosen)]
    return settings.resolve([*layers, *_named_after_the_file(*layers)])


def _named_after_the_file(
    base: Mapping[str, Any], *chosen: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The name of a dataset that is chosen by its path alone."""
    tables = [one for layer in chosen if isinstance(one := layer.get("dataset"), Mapping)]
    path = next((one["path"] for one in reversed(tables) if "path" in one), None)
    same = path == base.get("dataset", {}).get("path")
    if not isinstance(path, str) or not path or same or any("name" in one for one in tables):
        return []
    return [{"dataset": {"name": Path(normpath(path)).stem}}]


def _base(
    profile: str | None, file: Mapping[str, Any], saved: Mapping[str, Any] | None
) -> Mapping[str, Any]:
    """What the chosen settings are laid over."""
    if settings.is_whole(file) and profile == file["profile"]:
        return {"profile": profile}  # a run's own settings: those that it leaves out are None
    if saved and profile in (None, saved.get("profile")):
        return saved
    # Another profile than the saved one starts afresh: a mixture of both is neither.
    return settings.profile_settings("default" if profile is None else profile)


def _anchored(layer: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings with absolute paths, so that a run goes on from every folder."""
    from codlocal.generation import prompts  # brings jinja2, which --help can do without

    for anchor, names in (
        (paths.absolute, _PATHS), (locate.anchored, _MODELS), (prompts.anchored, _PROMPTS)
    ):  # fmt: skip
        for name in names:
            section, key = name.split(".")
            given = layer.get(section)
            value = given.get(key) if isinstance(given, Mapping) else None
            if value and isinstance(value, str):
                layer = settings.merge(layer, {section: {key: anchor(value)}})
    return layer


def _from_options(given: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for option, path in _SETTINGS.items():
        value = given.get(option)
        if value is None:
            continue
        section, key = path.split(".")
        nested.setdefault(section, {})[key] = value
    return nested


def run_path(given: Mapping[str, Any]) -> Path:
    """The run folder: the chosen one, or one named after the dataset and the profile."""
    if given.get("run"):
        return Path(given["run"])
    fresh = _resolved(given)
    return Path("runs") / paths.folder_name(f"{fresh.dataset.name}-{fresh.profile}")


@contextmanager
def open_run(
    given: Mapping[str, Any], console: Console, check: Callable[[RunFolder], None] | None = None
) -> Iterator[RunFolder]:
    """Open the run folder that a command works on, with its settings resolved and saved.

    Args:
        given: the command's parameters.
        console: is told where old results were set aside.
        check: refuses what can be refused before they are.

    Raises:
        CodlocalError: a setting, or the folder, is wrong.

    """
    path, redo = run_path(given), given.get("redo")
    config = config_of(given, RunFolder.saved_settings(path))
    if check and processes.is_first():
        check(RunFolder(path, config))
    with RunFolder.open(path, config, redo=redo) as run:
        if run.archive:
            console.info(f"Set the {redo} stage and later ones aside in {run.archive}")
        yield run
