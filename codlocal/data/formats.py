"""Readers for CSV, TSV, JSON Lines, JSON and Parquet files of labelled texts.

Texts come out exactly as they stand in the file: nothing is trimmed, and words such as `NA` or
`007` are never read as missing values or numbers.
"""

import csv
import difflib
import io
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from codlocal.core.errors import DataError
from codlocal.data.tables import RawSplit, make_split

Columns = tuple[str, str]
"""The names of the text column and of the label column."""


def read_file(path: Path, columns: Columns) -> RawSplit:
    """Read one file of labelled texts; its ending says which format it has.

    Raises:
        DataError: the file is unreadable, damaged or empty, or lacks a column.

    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(
            f"{path} is of an unknown kind ({path.suffix or 'no file ending'}).",
            f"Known kinds: {', '.join(READERS)}.",
        )
    try:
        split = reader(path, columns)
    except OSError as error:
        reason = error.strerror or error
        raise DataError(
            f"{path} can't be read: {reason}.", "Check the file's permissions."
        ) from error
    if not split.rows:
        raise DataError(f"{path} has no rows.", "It needs one labelled text in each row.")
    return split


def require_columns(available: Sequence[str], columns: Columns, where: str) -> None:
    """Check that a source has both columns, each once.

    Raises:
        DataError: it lacks one, and the hint shows the columns that are there, or has it twice.

    """
    for option, name in zip(("--text-column", "--label-column"), columns, strict=True):
        if available.count(name) > 1:
            raise DataError(
                f"{where} has more than one column {name!r}.",
                "Rename the other ones, or leave them out.",
            )
        if name in available:
            continue
        near = difflib.get_close_matches(name, available, n=1)
        guess = f" Did you mean {near[0]!r}?" if near else ""
        raise DataError(
            f"{where} has no column {name!r}.",
            f"Columns: {', '.join(map(str, available)) or 'none'}.{guess} "
            f"Name the right one with {option} NAME.",
        )


_PACKED = {b"\x1f\x8b": "gzip", b"PK\x03\x04": "zip"}
"""How packed files begin."""


def _text_of(path: Path) -> str:
    content = path.read_bytes()
    packed = next((kind for begin, kind in _PACKED.items() if content.startswith(begin)), None)
    if packed:
        raise DataError(f"{path} is packed by {packed}.", "Unpack it, and give what is in it.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path}, line {line}, is not valid UTF-8.",
            "Save the file again as UTF-8 (in Excel: CSV UTF-8), with commas between the fields.",
        ) from error


def _read_separated(path: Path, columns: Columns, separator: str) -> RawSplit:
    csv.field_size_limit(sys.maxsize)  # a text may be longer than the 128 KB that csv expects
    # csv must see the line ends itself, or line breaks within quotes would be changed.
    reader = csv.reader(io.StringIO(_text_of(path), newline=""), delimiter=separator, strict=True)
    texts: list[Any] = []
    labels: list[Any] = []
    try:
        header = next((row for row in reader if row), [])
        if not header:
            return make_split([], [], str(path))
        _refuse_other_separator(path, header, separator)
        require_columns(header, columns, str(path))
        text_at, label_at = (header.index(name) for name in columns)
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                _refuse_line(
                    path, reader.line_num, f"{len(row)} fields, but the header has {len(header)}"
                )
            texts.append(row[text_at])
            labels.append(row[label_at])
    except csv.Error as error:
        _refuse_line(path, reader.line_num, str(error), error)
    return make_split(texts, labels, str(path))


def _refuse_other_separator(path: Path, header: Sequence[str], separator: str) -> None:
    """Refuse a header that is one field to `separator`, and several to another one."""
    other = next((one for one in ";\t,|" if one in header[0]), None)
    if len(header) == 1 and other is not None:
        raise DataError(
            f"{path} has its fields separated by {other!r}, not by {separator!r}.",
            "Save it with commas as .csv, or with tabs as .tsv.",
        )


def _refuse_line(path: Path, line: int, problem: str, cause: Exception | None = None) -> NoReturn:
    raise DataError(
        f"{path}, line {line}: {problem}.",
        "Put a text with separators, quotes or line breaks in double quotes, "
        "and double the quotes in it.",
    ) from cause


def _parse_json(text: str, where: str) -> object:
    try:
        parsed: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        # A number of thousands of digits is a ValueError too; its advice is for programmers.
        reason = str(error).partition(";")[0]
        raise DataError(
            f"{where} is not valid JSON: {reason}.", "Correct it there, or write the file anew."
        ) from error
    return parsed


def _read_json(path: Path, columns: Columns) -> RawSplit:
    text = _text_of(path)
    # Nor do rows begin with a brace at the end of a line: that is one object, spread over lines.
    if path.suffix.lower() == ".json" and re.match(r"\s*(\[|\{\s*\n)", text):
        parsed = _parse_json(text, str(path))
        return _from_objects(parsed if isinstance(parsed, list) else [parsed], path, columns)
    # Only a line feed ends a row: `splitlines` would also cut at U+2028 within a text.
    lines = enumerate(text.split("\n"), start=1)
    rows = [_parse_json(line, f"{path}, line {at}") for at, line in lines if line.strip()]
    return _from_objects(rows, path, columns)


def _from_objects(rows: Iterable[Any], path: Path, columns: Columns) -> RawSplit:
    objects: list[dict[str, Any]] = []
    keys: dict[str, None] = {}
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise DataError(
                f"{path}, row {number}, is not a JSON object.",
                'Each row is of the form {"text": "…", "label": "…"}.',
            )
        objects.append(row)
        keys.update(dict.fromkeys(row))
    if objects:
        require_columns(list(keys), columns, str(path))
    text, label = columns
    texts, labels = [row.get(text) for row in objects], [row.get(label) for row in objects]
    return make_split(texts, labels, str(path))


def _read_parquet(path: Path, columns: Columns) -> RawSplit:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with path.open("rb") as handle:
            file = pq.ParquetFile(handle)
            require_columns(file.schema_arrow.names, columns, str(path))
            table = file.read(columns=list(dict.fromkeys(columns)))
            texts, labels = (table.column(name).to_pylist() for name in columns)
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} is not a readable Parquet file: {error}.", "Write the file again."
        ) from error
    return make_split(texts, labels, str(path), _parquet_class_names(table.schema, columns[1]))


def _parquet_class_names(schema: object, label_column: str) -> tuple[str, ...] | None:
    """The class names in the metadata that `datasets` leaves in a file, if it can read them."""
    from datasets import Features

    try:
        return class_names(Features.from_arrow_schema(schema), label_column)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None  # another version's metadata, or another program's: the labels stay as they are


def class_names(features: Mapping[str, object], label_column: str) -> tuple[str, ...] | None:
    """The class names that `datasets` features give to a column of integers, if any."""
    names = getattr(features.get(label_column), "names", None)
    return tuple(map(str, names)) if names else None


READERS: dict[str, Callable[[Path, Columns], RawSplit]] = {
    ".csv": partial(_read_separated, separator=","),
    ".tsv": partial(_read_separated, separator="\t"),
    ".jsonl": _read_json,
    ".ndjson": _read_json,
    ".json": _read_json,
    ".parquet": _read_parquet,
}
"""The reader of each file ending."""
