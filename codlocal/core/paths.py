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
    """A path that means the same from every folder.

    Raises:
        ConfigError: it begins with the home folder of a user who has none.

    """
    return str(expanded(path).absolute())


def expanded(path: str) -> Path:
    """A path with its home folder put in.

    Raises:
        ConfigError: it begins with the home folder of a user who has none.

    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"The home folder in {path} is not known.") from error


def folder_name(words: str) -> str:
    """Words as the name of one visible folder; of too many the end is kept."""
    return re.sub(r"[/\\\x00-\x1f]", "-", words)[-_LONGEST_NAME:].lstrip(".")


def free_gb(place: Path) -> float:
    """How many GB the disk of a place has left, whether it is there already or not."""
    existing = next(one for one in (place, *place.absolute().parents) if one.exists())
    return shutil.disk_usage(existing).free / 1e9


def home() -> Path:
    """The store's root: `$CODLOCAL_HOME`, else the user's cache folder."""
    chosen = os.environ.get("CODLOCAL_HOME") or platformdirs.user_cache_dir("codlocal")
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
