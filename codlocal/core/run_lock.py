"""The lock of a run folder, on which one process works at a time."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from codlocal.core.errors import RunError

_NAME = "run.lock"


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Hold the lock of a run folder while the block runs.

    Raises:
        RunError: another process has it.

    """
    with run.joinpath(_NAME).open("a") as lock:
        _take(lock, run)
        yield


def refuse_busy(run: Path) -> None:
    """Refuse a run folder on which another process works now; nothing is written.

    Raises:
        RunError: that is so.

    """
    path = run / _NAME
    if path.is_file():
        with path.open() as lock:
            _take(lock, run)


def _take(lock: IO[str], run: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise RunError(
            f"Another codlocal process is working on {run}.",
            "Wait for it to end, or choose another --run.",
        ) from error
