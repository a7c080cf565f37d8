"""What can be known to be missing before anything is loaded, downloaded or trained."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from codlocal.core import artifacts, paths
from codlocal.core.config import STAGES, Config
from codlocal.core.console import Console
from codlocal.core.errors import ConfigError, DeviceError, ModelError
from codlocal.core.records import DatasetSpec
from codlocal.core.run import RunFolder
from codlocal.generation import prompts
from codlocal.generation.engines.recording import STORE
from codlocal.models import locate
from codlocal.models.labels import column_order, names_of
from codlocal.models.teacher import check_teacher, read_teacher
from codlocal.models.trainable import check_start, refuse_other_family
from codlocal.pipeline.engines import (
    check_interpreter,
    check_server,
    find_engine,
    has_gpu,
    why_no_gpu,
)
from codlocal.pipeline.replays import store_of
from codlocal.pipeline.texts import drawn

_LOW_DISK_GB = 3.0
_PACKAGES = {
    "nf4": ("bitsandbytes", "peft"),
    "tensorboard": ("tensorboard",),
    "wandb": ("wandb",),
    "mlflow": ("mlflow",),
}
"""Settings that need packages which codlocal does without otherwise."""


HEAVY = frozenset({"teacher", "generate", "distill", "evaluate"})
"""Stages that take models, and with them a device and packages."""


def check_machine(run: RunFolder, until: str, redo: str | None = None) -> None:
    """Refuse stages that are to be done, but not on this machine as it is.

    Raises:
        ConfigError: a package is missing.
        DeviceError: a GPU is.
        ModelError: the student can't be made as asked, the generator is none, or the one that
            shows confusions is no student.

    """
    missing = HEAVY.intersection(run.missing(until, redo))
    if missing:
        check_device(run.config)
        check_packages(run.config)
    if "generate" in missing:
        check_confused_student(run.config)
        if not _answers_elsewhere(run.config):
            check_generator(run.config, locate.at_hand(run.config.generator.model))
    if "distill" in missing:
        check_student_at_hand(run.config)


def check_kept(run: RunFolder, until: str, redo: str | None = None) -> None:
    """Refuse stages whose teacher is gone, before anything is set aside for them.

    So with texts that are to be read anew, with an engine that is to write counterfactuals anew,
    what it is to replay, and its prompt.

    Raises:
        ConfigError: the prompt can't be used, or there is nothing to replay.
        DataError: the texts are not there or can't be used.
        EngineError: there is no engine.
        ModelError: the teacher is gone.
        RunError: the teacher's record is damaged.

    """
    missing = run.missing(until, redo)
    if HEAVY.intersection(missing) and "teacher" not in missing:
        check_teacher(read_teacher(run))
    if redo and "data" in missing:
        drawn(run)
    if redo and "generate" in missing:
        check_engine(run.config)
        anew = STAGES.index(redo) <= STAGES.index("generate")
        if "data" not in missing:
            check_prompt(run, artifacts.read_spec(run), begun=not anew)
        if anew:
            _refuse_own_replies(run)


def _refuse_own_replies(run: RunFolder) -> None:
    store = store_of(run.config.runtime.replay) if run.config.runtime.replay else None
    if store is not None and store.resolve() == run.file(STORE).resolve():
        raise ConfigError(
            f"The replies in {store} would be set aside with what is redone.",
            "Copy the file to another place, and name that with --replay; or choose another --run.",
        )


def check_student_at_hand(config: Config) -> None:
    """Refuse a student that can't be made of its model as asked, if the model is at hand.

    Raises:
        ModelError: that is so.

    """
    settings = config.distillation
    folder = locate.at_hand(settings.student)
    if settings.student_init == "teacher":
        teacher = locate.at_hand(config.teacher.model)
        if folder is not None and teacher is not None:
            refuse_other_family(folder, teacher, config.teacher.model)
        folder = teacher
    if folder is not None:
        check_start(folder, layers=settings.student_layers, pooling=settings.pooling)


def check_confused_student(config: Config) -> None:
    """Refuse a folder without a classifier where it is to show which labels it confuses.

    Raises:
        ModelError: that is so.

    """
    settings = config.generator
    if settings.targets != "confusion" or settings.confused_student is None:
        return
    folder = Path(settings.confused_student)
    if folder.is_dir():
        locate.check_folder(folder)
    if not folder.is_dir() or not locate.has_head(folder):
        raise ModelError(
            f"There is no student in {folder}.",
            "--confused-student takes the folder of a trained one, such as RUN/student.",
        )


def check_labels(teacher: Path, label_names: Sequence[str]) -> None:
    """Refuse a classifier whose labels are not the data's, as far as its configuration names them.

    Raises:
        ModelError: that is so.

    """
    named = locate.read_json(teacher / "config.json").get("id2label")
    if named and locate.has_head(teacher):
        column_order(names_of(named), label_names)


def check_device(config: Config) -> None:
    """Refuse settings that need a GPU where there is none.

    Raises:
        DeviceError: that is so.

    """
    if config.runtime.device == "cuda" and not has_gpu():
        without = "--device cpu"
        if config.profile != "embedded":
            without = (
                "`--profile embedded` (small models from the package registry), or --device cpu "
                "if you have the time"
            )
        raise DeviceError(
            f'runtime.device = "cuda" needs a CUDA GPU, and {why_no_gpu()}: profile '
            f"{config.profile!r}, generator {config.generator.model}, "
            f"teacher {config.teacher.model}.",
            f"Without a GPU use {without}. `codlocal doctor` tells more.",
        )


def check_packages(config: Config) -> None:
    """Refuse settings whose packages are not installed.

    Raises:
        ConfigError: that is so; the hint is the command that installs them.

    """
    chosen = (config.teacher.quantization, config.distillation.quantization, config.runtime.tracker)
    for choice in chosen:
        packages = _PACKAGES.get(choice, ())
        missing = [name for name in packages if importlib.util.find_spec(name) is None]
        if missing:
            raise ConfigError(
                f"{choice} needs {' and '.join(missing)}, not installed here.",
                f"pip install {' '.join(missing)}",
            )


def check_engine(config: Config) -> None:
    """Refuse settings whose engine is not installed, or whose server does not answer.

    A replay needs neither, only the recorded replies.

    Raises:
        ConfigError: the server's address can't be used, or there is nothing to replay.
        EngineError: there is no engine.

    """
    if config.runtime.replay:
        store_of(config.runtime.replay)
    elif config.runtime.server_url:
        check_server(config.runtime.server_url, offline=config.runtime.offline)
    elif config.generator.engine == "vllm":
        check_interpreter(find_engine(config.runtime.engine_python))


def fetch_generator(config: Config, console: Console) -> None:
    """Have the generator at hand, unless a server or a replay answers in its place.

    Raises:
        ConfigError: it can't be asked as the settings say.
        ModelError: it can't be had, or does not generate.

    """
    if not _answers_elsewhere(config):
        name, offline = config.generator.model, config.runtime.offline
        check_generator(config, locate.resolve(name, console=console, offline=offline))


def _answers_elsewhere(config: Config) -> bool:
    return bool(config.runtime.replay or config.runtime.server_url)


def check_generator(config: Config, model: Path | None) -> None:
    """Refuse a model that doesn't generate, and a base model that vLLM is to chat with.

    In this process a base model is asked without. None stands for a model that is not at hand.

    Raises:
        ConfigError: it is a base model.
        ModelError: it does not generate.

    """
    settings = config.generator
    if model is None:
        return
    if not locate.generates(model):
        raise ModelError(
            f"The generator {settings.model} is not a language model that generates text.",
            "Choose one that is (its config.json names a …ForCausalLM), such as "
            "--generator gemma-3-270m.",
        )
    if (settings.engine, settings.prompting) != ("vllm", "chat"):
        return
    if not locate.chat_template(model):
        raise ConfigError(
            f"The generator {settings.model} has no chat template: it is a base model.",
            "Ask it without: --set generator.prompting=completion (where generators are compared: "
            "MODEL:completion)",
        )


def check_prompt(run: RunFolder, spec: DatasetSpec, *, begun: bool = True) -> Path:
    """Refuse a prompt that can't be used on texts such as these; return where it is.

    A run that has begun has a copy of it, and so has one that is to be replayed.

    Raises:
        ConfigError: there is none of that name, or it can't be filled in.

    """
    replay = run.config.runtime.replay
    theirs = store_of(replay).with_name(prompts.COPY) if replay else None
    try:
        prompts.load(
            spec.task, run.config.generator.prompt, run.file(prompts.COPY) if begun else None
        )
    except ConfigError as error:
        if theirs is None or not theirs.is_file() or (begun and run.file(prompts.COPY).is_file()):
            raise
        hint = f"The run that is to be replayed has a copy of it: add --prompt {theirs}"
        raise ConfigError(error.message, hint) from error
    return prompts.of_run(run, spec, begun=begun).path


def warn_of_budget(config: Config, console: Console) -> None:
    """Say so if the budget makes a setting useless."""
    if config.generator.select_originals == "active" and config.generator.budget == "max":
        console.warn(
            "With --budget max all k texts are flipped: --select-originals active chooses none."
        )
    if config.verification.per_example > 1 and config.generator.budget == "paper":
        console.warn(
            f"{config.verification.per_example} counterfactuals of an original are sought, and "
            "under the paper's budget a student sees one: the others only cost time. Add "
            "--budget max to have them all used."
        )


def warn_of_low_disk(run: Path, console: Console) -> None:
    """Say so if the disk of the run or of the store is nearly full."""
    for place in {run, paths.home()}:
        free = paths.free_gb(place)
        if free < _LOW_DISK_GB:
            console.warn(f"Only {free:.1f} GB of disk are free for {place}.")
