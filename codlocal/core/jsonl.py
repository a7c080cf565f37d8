"""Row files that survive a kill: appended whole lines, repaired tails, atomic replacement."""

import json
import os
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from pydantic import ValidationError

from codlocal.core.errors import RunError
from codlocal.core.outputs import stage_of
from codlocal.core.records import Row

RowT = TypeVar("RowT", bound=Row)

_SYNC_SECONDS = 2.0


def read_rows(path: Path, row_type: type[RowT]) -> Iterator[RowT]:
    """Yield the rows of a file; a missing file has none, and a torn last line is not a row.

    Raises:
        RunError: a complete line is not a valid row.

    """
    return (row for _, row in read_rows_at(path, row_type))


def read_rows_at(path: Path, row_type: type[RowT]) -> Iterator[tuple[int, RowT]]:
    """Yield each row of a file with the byte at which it begins.

    Raises:
        RunError: a complete line is not a valid row.

    """
    if not path.exists():
        return
    at = 0
    with path.open("rb") as handle:
        for number, line in enumerate(handle, start=1):
            if not line.endswith(b"\n"):
                return
            yield at, _row(path, f"line {number}", line, row_type)
            at += len(line)


def last_row(path: Path, row_type: type[RowT]) -> RowT | None:
    """The last whole row of a file, the only one that is looked at; None if there is none.

    Raises:
        RunError: it is not valid.

    """
    if not path.exists():
        return None
    with path.open("rb") as handle:
        whole = (line for line in handle if line.endswith(b"\n"))
        last = deque(whole, maxlen=1)
    return _row(path, "the last line", last[0], row_type) if last else None


def _row(path: Path, place: str, line: bytes, row_type: type[RowT]) -> RowT:
    try:
        return row_type.model_validate_json(line)
    except ValidationError as error:
        stage = stage_of(path) or "with the stage that writes it"
        raise RunError(
            f"{path}, {place}, is not a valid {row_type.__name__} row.",
            f"Add --redo {stage}. First problem: {error.errors()[0]['msg']}",
        ) from error


class RowWriter:
    """Appends rows to a file, several rows in one write, and syncs to disk every few seconds.

    Opening it cuts off a torn last line, which a killed process or a full disk may have left.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        _cut_torn_tail(path)
        self._path = path
        self._handle = path.open("ab", buffering=0)
        self._synced = time.monotonic()

    def append(self, rows: Iterable[Row]) -> list[int]:
        """Append the rows, each as one JSON line, in one write; return where each begins."""
        lines = [row.model_dump_json().encode() + b"\n" for row in rows]
        begins = list(accumulate(map(len, lines), initial=self._handle.tell()))[:-1]
        view = memoryview(b"".join(lines))
        with _named(self._path):
            while view:
                view = view[self._handle.write(view) or 0 :]
            if time.monotonic() - self._synced > _SYNC_SECONDS:
                self._sync()
        return begins

    def _sync(self) -> None:
        os.fsync(self._handle.fileno())
        self._synced = time.monotonic()

    def close(self) -> None:
        """Sync to disk and close."""
        if not self._handle.closed:
            self._sync()
            self._handle.close()

    def __enter__(self) -> "RowWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Have an error of writing say of which file it is: the system's own does not."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def _cut_torn_tail(path: Path) -> None:
    if not path.exists():
        return
    with path.open("rb+") as handle:
        size = handle.seek(0, os.SEEK_END)
        while size:
            start = max(0, size - 65536)
            handle.seek(start)
            newline = handle.read(size - start).rfind(b"\n")
            if newline >= 0:
                handle.truncate(start + newline + 1)
                return
            size = start
        handle.truncate(0)


def write_rows(path: Path, rows: Iterable[Row]) -> int:
    """Write a row file that has every row or is not there; return the count."""
    count = 0
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    with RowWriter(partial) as writer:
        for row in rows:
            writer.append([row])
            count += 1
    partial.replace(path)
    return count


def write_json(path: Path, value: object) -> None:
    """Write one JSON document atomically, indented, with a final newline."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write one text file atomically and synced to disk."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write one file atomically and synced to disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with _named(path), partial.open("wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())
    partial.replace(path)
