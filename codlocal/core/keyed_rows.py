"""A row file as a table: rows are appended as they come and read back by key, from disk.

Only the index is held, and that in a temporary SQLite database, which keeps a few MB in memory
and the rest in a file without a name. So memory stays flat however many rows there are.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Generic

from codlocal.core.jsonl import RowT, RowWriter, read_rows_at, write_rows


class KeyedRows(Generic[RowT]):
    """The rows of one file by a key of theirs; of rows with the same key the first one counts.

    The file is made by the first row. Use it as a context manager, in one thread at a time.

    Raises:
        RunError: a complete line of the file is not a valid row.

    """

    def __init__(self, path: Path, row_type: type[RowT], key: Callable[[RowT], str]) -> None:
        self.path = path
        self._row_type = row_type
        self._key = key
        self._open = ExitStack()
        self._writer: RowWriter | None = None
        self._index = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._open.callback(self._index.close)
        self._index.execute("PRAGMA journal_mode = OFF")
        self._index.execute("CREATE TABLE at (key TEXT PRIMARY KEY, begin INTEGER) WITHOUT ROWID")
        self._remember((self._key(row), at) for at, row in read_rows_at(path, row_type))

    def _remember(self, places: Iterable[tuple[str, int]]) -> None:
        self._index.executemany("INSERT OR IGNORE INTO at VALUES (?, ?)", places)

    def get(self, key: str) -> RowT | None:
        """The first row with a key, or None."""
        found = self._index.execute("SELECT begin FROM at WHERE key = ?", (key,)).fetchone()
        return next(self._rows_at([found]), None) if found else None

    def in_order(self) -> Iterator[RowT]:
        """The rows in the order of their keys, one of each key."""
        return self._rows_at(self._index.execute("SELECT begin FROM at ORDER BY key"))

    def starting_with(self, prefix: str) -> list[RowT]:
        """The rows whose keys start so, in the order of their keys, one of each key."""
        between = (prefix, prefix + "\U0010ffff")
        query = "SELECT begin FROM at WHERE key >= ? AND key < ? ORDER BY key"
        found = self._index.execute(query, between).fetchall()
        return list(self._rows_at(found)) if found else []

    def _rows_at(self, places: Iterable[tuple[int]]) -> Iterator[RowT]:
        with self.path.open("rb") as handle:
            for (begin,) in places:
                handle.seek(begin)
                yield self._row_type.model_validate_json(handle.readline())

    def append(self, row: RowT) -> None:
        """Write one more row."""
        self.extend([row])

    def extend(self, rows: Sequence[RowT]) -> None:
        """Write more rows, all in one write."""
        if self._writer is None:
            self._writer = self._open.enter_context(RowWriter(self.path))
        self._remember(zip(map(self._key, rows), self._writer.append(rows), strict=True))

    def __len__(self) -> int:
        (count,) = self._index.execute("SELECT count(*) FROM at").fetchone()
        return int(count)

    def __enter__(self) -> "KeyedRows[RowT]":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()


def sort_rows(path: Path, row_type: type[RowT], key: Callable[[RowT], str]) -> None:
    """Rewrite a file with its rows in the order of a key, whatever the order in which they came.

    Raises:
        RunError: a complete line of the file is not a valid row.

    """
    if path.exists():
        with KeyedRows(path, row_type, key) as table:
            write_rows(path, table.in_order())
