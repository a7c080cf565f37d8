"""What errors of libraries mean to a user: such errors have no type in common, but their words."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from codlocal.core.errors import DeviceError

FREE_SPACE = "Free some space and run the same command again; complete rows are kept."
_LESS_MEMORY = (
    "Use a smaller --set distillation.batch_size, teacher.batch_size or max_length, or smaller "
    "models; what is done already is kept."
)
_DISK = dict.fromkeys(
    ("No space left on device", "database or disk is full", "Disk quota exceeded"),
    ("The disk is full", FREE_SPACE),
)
_TEMPORARY = {
    "No usable temporary directory": (
        "No temporary folder can be written to",
        "Set TMPDIR to a folder that can be, and run the same command again.",
    )
}
_MEMORY = {
    "out of memory": ("The device has too little memory", _LESS_MEMORY),
    "can't allocate memory": ("This machine has too little memory", _LESS_MEMORY),
}


def said(error: Exception) -> str:
    """What an error says; of a folder that could not be copied, why its first file could not."""
    if isinstance(error, shutil.Error) and isinstance(error.args[0], list):
        return str(error.args[0][0][2])
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def first_line(error: Exception) -> str:
    """How an error begins, whose further lines are for programmers; its type if it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def system_error(error: Exception) -> OSError | None:
    """The system's error of which a library in Rust tells in words alone; None if it is none."""
    found = re.search(r"\(os error (\d{1,5})\)", str(error))
    return OSError(int(found[1]), os.strerror(int(found[1]))) if found else None


def told(error: Exception) -> tuple[str, str] | None:
    """The message and the hint for an error of a library, those in Rust and C among them."""
    return _told(error, {**_DISK, **_MEMORY, **_TEMPORARY})


def hub_errors() -> tuple[type[Exception], ...]:
    """What the client of the hub raises where it can't reach it, or doesn't understand it.

    The library by which it sends requests is a matter of its version, and its errors a base of its
    own. A proxy of the environment that can't be used is an ImportError or a ValueError.
    """
    from huggingface_hub.errors import HfHubHTTPError

    sending = [one for one in HfHubHTTPError.__mro__ if one.__name__ == "HTTPError"]
    return (*sending, OSError, ValueError, TypeError, ImportError)


@contextmanager
def memory_errors() -> Iterator[None]:
    """Make an error of ours of what the block raises where memory is too small.

    Raises:
        DeviceError: it is.

    """
    try:
        yield
    except (MemoryError, RuntimeError, OSError) as error:
        found = _told(error, _MEMORY)
        if found is None:
            raise
        raise DeviceError(*found) from error


def _told(error: Exception, table: dict[str, tuple[str, str]]) -> tuple[str, str] | None:
    if isinstance(error, MemoryError):
        return "This machine has too little memory.", _LESS_MEMORY
    found = next((one for words, one in table.items() if words in said(error)), None)
    return found and (f"{found[0]}: {said(error)}.", found[1])
