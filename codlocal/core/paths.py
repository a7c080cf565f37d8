"""Where codlocal keeps what outlives a run: models, teachers and the engine's environment."""

import os
import re
import shutil
from pathlib import Path

import platformdirs

from codlocal.core.errors import ConfigError

_LONGEST_NAME = 60
"""In characters; a file system takes 255 bytes, and a character may have four."""


def absolute(path: str) -> str:
    """A path that means the same from every folder, and is written the same from all.

    Raises:
        ConfigError: it is empty, or begins with the home folder of a user who has none.

    """
    if not path:
        raise ConfigError("A path is empty.", "Is it a shell variable that is not set?")
    found = expanded(path)
    return str(found.resolve() if ".." in found.parts else found.absolute())


def expanded(path: str) -> Path:
    """A path with its home folder put in.

    Raises:
        ConfigError: it begins with the home folder of a user who has none.

    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ConfigError(
            f"The home folder in {path} is not known.", "Write the path out."
        ) from error


def folder_name(words: str) -> str:
    """Words as the name of one visible folder; of too many the end is kept."""
    return re.sub(r"[/\\\x00-\x1f]", "-", words)[-_LONGEST_NAME:].lstrip(".")


def free_gb(place: Path) -> float:
    """How many GB the disk of a place has left, whether it is there already or not."""
    return shutil.disk_usage(_existing(place)).free / 1e9


def is_writable(folder: Path) -> bool:
    """Whether files can be made in a folder, there already or to be made."""
    return os.access(_existing(folder), os.W_OK | os.X_OK)


def _existing(place: Path) -> Path:
    return next(one for one in (place, *place.absolute().parents) if one.exists())


def home() -> Path:
    """The store's root: `$CODLOCAL_HOME`, else the user's cache folder.

    Raises:
        ConfigError: it is in the home folder of a user who has none.

    """
    try:
        chosen = os.environ.get("CODLOCAL_HOME") or platformdirs.user_cache_dir("codlocal")
    except RuntimeError as error:
        raise ConfigError(
            "The user has no home folder, in which models would be kept.",
            "Set CODLOCAL_HOME to a folder for them.",
        ) from error
    return Path(absolute(chosen))


def models() -> Path:
    """Converted models, one folder each."""
    return home() / "models"


def teachers() -> Path:
    """Fine-tuned teachers, one folder per content hash."""
    return home() / "teachers"


def engine() -> Path:
    """The virtual environment that holds vLLM: `$CODLOCAL_ENGINE`, else one in the store."""
    chosen = os.environ.get("CODLOCAL_ENGINE")
    return Path(absolute(chosen)) if chosen else home() / "engine"


def engine_python() -> Path:
    """The interpreter of the engine's own environment, present or not."""
    return engine() / ("Scripts" if os.name == "nt" else "bin") / "python"
