"""The results of an ablation: one row a cell, and the same as a tidy table."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from codlocal.core import jsonl
from codlocal.core.errors import RunError
from codlocal.core.records import Metrics, Row

RESULTS = "results.jsonl"
TABLES = ("results.csv", "results.parquet")
PLAN = "plan.json"
"""The keys of the cells that the folder was last asked for: rows of earlier grids stay beside."""


class SetFacts(Row):
    """What the texts of a cell are.

    `texts`, `pairs`, `singles` and `fill` count them as in a student's record. Over all texts,
    `boundary_distance` is the mean of half the gap between the teacher's two likeliest classes
    (|p - 0.5| for two), and `fisher_trace` and `fisher_log_determinant` are their information.
    `edit_distance` is the mean over the edited texts, None where there are none.
    """

    texts: int
    pairs: int
    singles: int
    fill: int
    edit_distance: float | None
    boundary_distance: float
    fisher_trace: float
    fisher_log_determinant: float


class CellResult(Row):
    """One cell: its place in the grid, and its figures or the reason why it has none.

    `generator` is None where no counterfactual is used. `settings` has the values of the grid's
    further axes, None where an axis does not touch the cell. `curve` is a hash of all settings but
    k and the seed. `teacher_accuracy` is that of the teacher on the same test split. `seconds` is
    what the figures took; where they do not depend on the method or on another axis, rows of the
    same figures repeat it.
    """

    key: str
    dataset: str
    generator: str | None
    method: str
    arm: str
    k: int
    seed: int
    settings: dict[str, Any]
    curve: str
    teacher_accuracy: float | None = None
    metrics: Metrics | None = None
    facts: SetFacts | None = None
    error: str | None = None
    seconds: float = 0.0


def read_results(folder: Path) -> dict[str, CellResult]:
    """The rows of a sweep by key; of a cell that was tried more than once the last one counts.

    Raises:
        RunError: the file is damaged.

    """
    try:
        return {row.key: row for row in jsonl.read_rows(folder / RESULTS, CellResult)}
    except RunError as error:
        raise RunError(
            error.message,
            "Remove that line: `codlocal ablate` does its cell again. Or choose another --out.",
        ) from error


def planned_results(folder: Path) -> list[CellResult]:
    """The rows of the cells that a sweep was last asked for, as far as they are there.

    Raises:
        RunError: the folder is no sweep, or a file is damaged.

    """
    try:
        keys = TypeAdapter(list[str]).validate_json(folder.joinpath(PLAN).read_bytes())
    except FileNotFoundError as error:
        hint = "Check the path. `codlocal ablate` makes sweeps."
        if folder.joinpath("manifest.json").is_file():
            hint = f"It is a run: `codlocal pipeline --run {folder}` shows what came of it."
        raise RunError(f"There is no sweep in {folder}.", hint) from error
    except (OSError, ValueError) as error:
        raise RunError(f"{folder / PLAN} is damaged.", "Run `codlocal ablate` again.") from error
    rows = read_results(folder)
    return [rows[key] for key in keys if key in rows]


def write_tables(folder: Path, rows: Sequence[CellResult]) -> None:
    """Write `TABLES`: a row a cell, a column a setting or figure."""
    import pyarrow
    from pyarrow import parquet

    flat = [_flat(row) for row in rows]
    names = list(dict.fromkeys(name for row in flat for name in row))
    columns = {name: _uniform([row.get(name) for row in flat]) for name in names}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(zip(*columns.values(), strict=True))
    table, binary = (folder / name for name in TABLES)
    jsonl.write_text(table, text.getvalue())
    partial = binary.with_name(f"{binary.name}.partial")
    parquet.write_table(pyarrow.table(columns), partial)
    partial.replace(binary)


def _flat(row: CellResult) -> dict[str, Any]:
    values = row.model_dump(exclude={"settings", "curve", "metrics", "facts"})
    figures = {name: None for part in (Metrics, SetFacts) for name in part.model_fields}
    for part in (row.metrics, row.facts):
        if part is not None:
            figures.update(part.model_dump())
    ends = {name: values.pop(name) for name in ("error", "seconds")}
    return {**values, **row.settings, **figures, **ends}


def _uniform(values: list[Any]) -> list[Any]:
    """A column of one type: values of different types, such as 3 and "all", become text."""
    kinds = {float if type(value) is int else type(value) for value in values if value is not None}
    if len(kinds) > 1:
        return [None if value is None else str(value) for value in values]
    return values
