"""The options that commands share, and the configuration that they add up to."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from codlocal.core import config as settings
from codlocal.core.config import STAGES, Config
from codlocal.core.console import Console
from codlocal.core.run import RunFolder, set_aside

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
    "generator": "generator.model",
    "engine": "generator.engine",
    "prompt": "generator.prompt",
    "candidates": "generator.candidates",
    "temperature": "generator.temperature",
    "student": "distillation.student",
    "student_init": "distillation.student_init",
    "student_layers": "distillation.student_layers",
    "warm_start": "distillation.warm_start",
    "method": "distillation.method",
    "steps": "distillation.steps",
    "baseline": "distillation.baseline",
    "offline": "runtime.offline",
    "device": "runtime.device",
    "concurrency": "runtime.concurrency",
    "server_url": "runtime.server_url",
    "engine_python": "runtime.engine_python",
    "port": "runtime.port",
}
"""Option name -> setting. Paths are made absolute, so that a run goes on from anywhere."""

_PATHS = {"data", "prompt", "engine_python"}

_output = (
    click.option("--offline/--online", default=None,
                 help="Forbid every outgoing connection: no hub, no package registry."),
    click.option("--json", "as_json", is_flag=True,
                 help="Print the result as JSON on standard output."),
    click.option("-q", "--quiet", is_flag=True, help="Print errors and warnings only."),
    click.option("-v", "--verbose", count=True, help="Print more."),
)  # fmt: skip

_common = (
    click.option("--run", "run", type=click.Path(path_type=Path), metavar="DIR",
                 help="Run folder. [default: runs/DATASET-PROFILE]"),
    click.option("--profile", metavar="NAME",
                 help="embedded (no GPU, no hub), default (one GPU) or paper-qwen. "
                 "[default: default]"),
    click.option("--config", "config_file", type=click.Path(path_type=Path), metavar="FILE.toml",
                 help="Settings that override the profile's."),
    click.option("--set", "assignments", multiple=True, metavar="SECTION.KEY=VALUE",
                 help="Override one setting; may be repeated."),
    click.option("--redo", type=click.Choice(STAGES),
                 help="Set this stage's results and all later ones aside (RUN/archive), "
                 "and redo them."),
    click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="Where models run."),
    *_output,
)  # fmt: skip

_dataset = (
    click.option("--dataset", metavar="NAME",
                 help="sst2, sentiment140, imdb, cola, amazon or yelp. [default: yelp]"),
    click.option("--data", metavar="FILE|DIR",
                 help="Your own data: CSV, TSV, JSONL, Parquet, or a saved Hugging Face dataset."),
    click.option("--text-column", metavar="NAME", help="Column of the texts. [default: text]"),
    click.option("--label-column", metavar="NAME", help="Column of the labels. [default: label]"),
    click.option("--source", type=click.Choice(["auto", "bundled", "cache", "hub"]),
                 help="Where a named dataset comes from."),
    click.option("-k", "--k", type=int, help="Labelled texts per student; even."),
    click.option("--seed", type=int, help="First seed. [default: 0]"),
    click.option("--seeds", type=int, help="How many seeds: mean and interval over them."),
)  # fmt: skip

_teacher = (
    click.option("--teacher", metavar="MODEL",
                 help="Fine-tuned classifier or encoder; folder, packaged name or hub id."),
)  # fmt: skip

_generator = (
    click.option("--generator", metavar="MODEL",
                 help="Language model that writes counterfactuals."),
    click.option("--engine", type=click.Choice(["vllm", "transformers"]),
                 help="vllm: a server of its own; transformers: in this process, slower."),
    click.option("--prompt", metavar="FILE",
                 help="Your own Jinja2 prompt instead of prompts/TASK.jinja."),
    click.option("--candidates", type=int, help="Replies per original and round."),
    click.option("--temperature", type=float, help="Sampling temperature."),
    click.option("--concurrency", type=int, help="Requests in flight at once."),
    click.option("--server-url", metavar="URL",
                 help="Use a running vLLM server; its key is read from CODLOCAL_SERVER_KEY."),
    click.option("--engine-python", metavar="PATH",
                 help="Interpreter of an environment that has vLLM."),
    click.option("--port", type=int, help="Port of our server. [default: a free one]"),
)  # fmt: skip

_student = (
    click.option("--student", metavar="MODEL", help="Model that the student starts from."),
    click.option("--student-init", type=click.Choice(["pretrained", "teacher"]),
                 help="teacher: made of the teacher's own layers and head. [default: pretrained]"),
    click.option("--student-layers", type=int, metavar="N",
                 help="Layers of the student, evenly spaced. [default: all, of a teacher half]"),
    click.option("--warm-start", type=click.Choice(["none", "head"]),
                 help="head: fit the head on frozen features first. [default: none]"),
    click.option("--method", type=click.Choice(["kd", "lwd"]),
                 help="Objective: soft labels (kd), or hidden states too (lwd). [default: kd]"),
    click.option("--steps", type=int, help="Training steps of a student."),
    click.option("--baseline/--no-baseline", default=None,
                 help="Also distil a student on k originals, for comparison. [default: yes]"),
)  # fmt: skip


_GROUPS = {
    "engine": _output,
    "doctor": (_generator[-2], *_output),
    "serve": (*_generator, *_common),
    "data": (*_dataset, *_common),
    "teacher": (*_dataset, *_teacher, *_common),
    "generate": (*_dataset, *_teacher, *_generator, *_common),
    "all": (*_dataset, *_teacher, *_generator, *_student, *_common),
}


def options(group: str) -> Callable[[CommandT], CommandT]:
    """Give a command the options of a group, in the order in which they are listed."""

    def decorate(command: CommandT) -> CommandT:
        for option in reversed(_GROUPS[group]):
            command = option(command)
        return command

    return decorate


def console_of(given: Mapping[str, Any]) -> Console:
    """The console that `-q`, `-v` and `--json` ask for."""
    verbosity = -1 if given.get("quiet") else int(given.get("verbose") or 0)
    return Console(verbosity, as_json=bool(given.get("as_json")))


def config_of(given: Mapping[str, Any], saved: Mapping[str, Any] | None = None) -> Config:
    """The configuration that the options of a command ask for.

    Args:
        given: the command's parameters.
        saved: the settings that the run folder was last used with.

    Raises:
        ConfigError: one or more settings are wrong.

    """
    profile = given.get("profile")
    if saved and profile in {None, saved.get("profile")}:
        layers: list[Mapping[str, Any]] = [saved]
    else:
        # Another profile than the saved one starts afresh: a mixture of both is neither.
        layers = [settings.profile_settings(profile or "default")]
    if given.get("config_file"):
        layers.append(settings.read_toml(given["config_file"]))
    layers.append(settings.parse_assignments(given.get("assignments") or ()))
    layers.append(_from_options(given))
    return settings.resolve(layers)


def _from_options(given: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for option, path in _SETTINGS.items():
        value = given.get(option)
        if value is None:
            continue
        if option in _PATHS:
            value = str(Path(value).expanduser().absolute())
        section, key = path.split(".")
        nested.setdefault(section, {})[key] = value
    if given.get("data") and not given.get("dataset"):
        nested["dataset"]["name"] = Path(given["data"]).stem
    if given.get("dataset") and not given.get("data"):
        nested["dataset"]["path"] = None  # of a saved run or a --config file
    return nested


def run_path(given: Mapping[str, Any]) -> Path:
    """The run folder: the chosen one, or one named after the dataset and the profile."""
    if given.get("run"):
        return Path(given["run"])
    fresh = config_of(given)
    return Path("runs") / f"{fresh.dataset.name}-{fresh.profile}"


@contextmanager
def open_run(given: Mapping[str, Any], console: Console) -> Iterator[RunFolder]:
    """Open the run folder that a command works on, with its settings resolved and saved.

    Raises:
        CodlocalError: a setting, or the folder, is wrong.

    """
    path = run_path(given)
    saved = RunFolder.saved_settings(path)
    config = config_of(given, saved)
    if given.get("redo"):
        archive = set_aside(path, given["redo"])
        if archive:
            console.info(f"Set the {given['redo']} stage and later ones aside in {archive}")
    with RunFolder.open(path, config) as run:
        yield run
