"""Another run's replies: where they are, and in what that run differs from this one."""

from collections.abc import Callable
from pathlib import Path

from codlocal.core import artifacts, jsonl
from codlocal.core import config as settings
from codlocal.core.config import Config
from codlocal.core.errors import CodlocalError, ConfigError, RunError
from codlocal.core.run import RunFolder
from codlocal.generation.engines.recording import STORE, Exchange


def store_of(place: str) -> Path:
    """The file with the replies of `--replay`, which is given as it is or as its folder.

    Raises:
        ConfigError: it is not there, empty, or something else, as its first line shows.

    """
    path = Path(place).expanduser()
    path = path / STORE if path.is_dir() else path
    if not _has_replies(path):
        raise ConfigError(
            f"There are no recorded replies at {path}.",
            f"--replay takes a run folder with a {STORE}, or that file.",
        )
    return path


def _has_replies(path: Path) -> bool:
    try:
        return next(jsonl.read_rows(path, Exchange), None) is not None
    except (OSError, RunError):
        return False


def differences(run: RunFolder, recorded: Path) -> list[str]:
    """In what a recorded run differs from this one, as far as its folder tells."""
    other = RunFolder(recorded, Config())
    found = ["the recorded run has not finished its generate stage"] if _is_open(other) else []
    if other.file("run.toml").is_file():
        # As they stand there: another version of codlocal may have had other settings.
        saved = settings.read_toml(other.file("run.toml"))
        ours, steering = run.config.stage_settings("generate"), run.config.steering("generate")
        found += settings.differences({name: saved.get(name, {}) for name in ours}, ours)
        # The rest of these sections is of no concern to the search.
        steered = {
            name: {key: saved.get(name, {}).get(key) for key in section}
            for name, section in steering.items()
        }
        found += settings.differences(steered, steering)
    found += _if_both(
        run, other, "the data are others", lambda one: artifacts.read_spec(one).sha256
    )
    found += _if_both(run, other, "the teacher has other weights", _teacher)
    found += _if_both(
        run, other, "another version of codlocal made it", lambda one: one.manifest.version
    )
    return found


def _is_open(run: RunFolder) -> bool:
    """Whether a run has begun to generate, and may have asked only a part of its requests."""
    try:
        return "generate" in run.manifest.stages and not run.is_done("generate")
    except RunError:
        return False


def _teacher(run: RunFolder) -> str:
    from codlocal.models.teacher import read_teacher

    return read_teacher(run).sha256


def _if_both(
    run: RunFolder, other: RunFolder, words: str, read: Callable[[RunFolder], str]
) -> list[str]:
    """The words, if both runs have a value and they differ."""
    try:
        return [words] if read(run) != read(other) else []
    except CodlocalError:
        return []
