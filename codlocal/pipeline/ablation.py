"""An ablation: every cell of a grid trained and scored, resumably, sharing all that can be shared.

DIR/results.jsonl  a row a cell, appended when the cell is done
DIR/results.csv    the same as a table, also as results.parquet
DIR/plan.json      the keys of the cells that were asked for last
DIR/runs/          one run a dataset and generator: data, teacher, counterfactuals
DIR/work/          students in training; they are deleted when they are scored
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from codlocal.core import artifacts, jsonl
from codlocal.core.config import Config, listed, read_toml
from codlocal.core.console import Console, Task
from codlocal.core.errors import CodlocalError, ConfigError, QualityError, RunError
from codlocal.core.foreign import memory_errors
from codlocal.core.run import RunFolder
from codlocal.distillation.arms import ARMS
from codlocal.evaluation.results import (
    PLAN,
    RESULTS,
    TABLES,
    CellResult,
    read_results,
    write_tables,
)
from codlocal.models.folders import locked
from codlocal.pipeline.bench import Bench
from codlocal.pipeline.cells import Cell, Source
from codlocal.pipeline.lending import check_lender, twin
from codlocal.pipeline.possible import possible
from codlocal.pipeline.session import Session
from codlocal.pipeline.texts import drawn

_QUIET = Console(-1)
_LOCK = "results.lock"
"""Like the plan, it tells a sweep from another folder."""


def open_cells(source: Source, done: dict[str, CellResult]) -> list[Cell]:
    """The cells of a source without a result under their name; those that failed are tried again.

    A cell has another name, and the same result, where the grid has got or lost an axis.
    """
    found = [(cell, done.get(cell.key)) for cell in source.cells]
    return [cell for cell, row in found if not row or row.error or row.settings != cell.settings]


def known_work(sources: Sequence[Source], done: dict[str, CellResult]) -> dict[str, CellResult]:
    """The results of a plan's cells that are there, for all cells of the same work."""
    cells = [cell for source in sources for cell in source.cells if cell.key in done]
    return {cell.work: done[cell.key] for cell in cells if not done[cell.key].error}


def state_of(source: Source, folder: Path, earlier: Sequence[Source] = ()) -> str:
    """Where the counterfactuals of a source come from, in a few words.

    By then the sweep has brought the `earlier` ones to theirs.
    """
    if not source.generates:
        return "none needed"
    model = source.config.generator.model
    run = RunFolder(folder / "runs" / source.name, source.config)
    if run.is_done("verify"):
        return f"{model}, there already"
    lender = source.lender or twin(run, earlier)
    return f"{model}, from {lender}" if lender else f"{model}, to be written"


def check_texts(sources: Sequence[Source], folder: Path) -> None:
    """Refuse texts at hand that a sweep can't use before it runs; those that it has read are fine.

    Raises:
        ConfigError: a file of one's own has no such column, too few texts for k, or the like.

    """
    mistakes: dict[str, None] = {}
    for dataset, source in {source.config.dataset: source for source in sources}.items():
        run = RunFolder(folder / "runs" / source.name, source.config)
        if (dataset.path or dataset.source == "bundled") and not run.is_done("data"):
            try:
                drawn(run)
            except CodlocalError as error:
                mistakes[f"{error.message} {error.hint}"] = None
    if mistakes:
        raise ConfigError(
            listed("The grid", list(mistakes)),
            "A dataset's table names its columns: "
            '{ path = "reviews.csv", text_column = "body", label_column = "mood" }',
        )


def run_ablation(sources: Sequence[Source], folder: Path, console: Console) -> list[CellResult]:
    """Bring a sweep folder up to a plan; return the results of its cells, in the plan's order.

    A cell that can't be done is kept with the reason, and the sweep goes on.

    Raises:
        RunError: the folder's results are damaged, or are somebody else's.

    """
    _refuse_strange_folder(folder)
    with locked(folder / _LOCK, console):
        done = read_results(folder)
        keys = [cell.key for source in sources for cell in source.cells]
        jsonl.write_json(folder / PLAN, keys)
        with jsonl.RowWriter(folder / RESULTS) as writer:
            for row in _new_results(sources, done, folder, console):
                writer.append([row])
                done[row.key] = row
        rows = [done[key] for key in keys]
        write_tables(folder, rows)
    return rows


def _refuse_strange_folder(folder: Path) -> None:
    own = [one for one in (RESULTS, *TABLES) if folder.joinpath(one).exists()]
    if own and not any(folder.joinpath(one).exists() for one in (_LOCK, PLAN)):
        raise RunError(
            f"{folder} is no sweep, and its own {own[0]} would be overwritten.",
            "Choose another --out.",
        )


def _new_results(
    sources: Sequence[Source], done: dict[str, CellResult], folder: Path, console: Console
) -> Iterator[CellResult]:
    """Counterfactuals first, which take longest, each under a progress of its own; then cells."""
    known = known_work(sources, done)
    waiting: list[tuple[Source, list[Cell]]] = []
    for source in sources:
        cells = open_cells(source, done)
        yield from (cell.shares(known[cell.work]) for cell in cells if cell.work in known)
        cells = [cell for cell in cells if cell.work not in known]
        if cells:
            ready, failures = _prepared(source, cells, folder, console)
            yield from failures
            if ready:
                waiting.append((source, ready))
    if not waiting:
        return
    with console.progress("Cells", sum(len(cells) for _, cells in waiting)) as task:
        for source, cells in waiting:
            yield from _trained(source, cells, known, folder, task)


def _prepared(
    source: Source, cells: list[Cell], folder: Path, console: Console
) -> tuple[list[Cell], list[CellResult]]:
    """Bring a source's run up to what its cells need: the cells that can go on, and the others."""
    cells, refused = possible(cells, console)
    for reason in dict.fromkeys(error.message for _, error in refused):
        console.warn(f"{source.name}: {reason}")
    failures = [_failure(cell, error) for cell, error in refused]
    if not cells:
        return [], failures
    goal = "teacher"
    place = folder / "runs" / source.name
    try:
        with memory_errors(), RunFolder.open(place, _settings(source, cells[0])) as run:
            session = Session(run, console)
            session.advance("data")
            _refuse_other_texts(run)
            needed = all(ARMS[cell.arm].counterfactuals for cell in cells)
            if source.lender and needed and not run.is_done("teacher"):
                check_lender(run, source.lender, console)
            session.advance(goal)
            session.order_originals()
            if source.generates:
                goal = "verify"
                lender = source.lender or twin(run)
                if lender:
                    session.borrow(lender)
                session.advance(goal)
    except CodlocalError as error:
        console.warn(f"{source.name}: {error.message}")
        lost = [cell for cell in cells if goal == "teacher" or _needs(cell, error)]
        cells = [cell for cell in cells if cell not in lost]
        failures += [_failure(one, error) for one in lost]
    return cells, failures


def _needs(cell: Cell, error: CodlocalError) -> bool:
    """Whether a cell needs the counterfactuals that a source failed to bring."""
    arm = ARMS[cell.arm]
    return arm.counterfactuals and not (arm.unchosen and isinstance(error, QualityError))


def _settings(source: Source, cell: Cell) -> Config:
    """Those of a source's run, with a student that can be made."""
    return source.config.model_copy(update={"distillation": cell.config.distillation})


def _refuse_other_texts(run: RunFolder) -> None:
    """Refuse data that was changed since another run of the sweep read it."""
    ours = _places(run.config.dataset.model_dump(mode="json", exclude_none=True))
    for path in sorted(run.path.parent.glob("*/run.toml")):
        other = RunFolder(path.parent, run.config)
        if not other.is_done("data") or _places(read_toml(path).get("dataset", {})) != ours:
            continue
        if artifacts.read_spec(other).sha256 != artifacts.read_spec(run).sha256:
            raise RunError(
                f"{run.path} and {other.path} have other texts: the data was changed in between.",
                "Put the data back and remove the run with the other texts, or choose another "
                "--out.",
            )


def _places(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that say which texts these are, not how many of them a student gets."""
    return {name: it for name, it in dataset.items() if name not in {"k", "seed", "seeds"}}


def _trained(
    source: Source,
    cells: Sequence[Cell],
    known: dict[str, CellResult],
    folder: Path,
    task: Task,
) -> Iterator[CellResult]:
    if not cells:
        return
    with ExitStack() as opened:
        try:
            run = opened.enter_context(RunFolder.open(folder / "runs" / source.name, source.config))
        except CodlocalError as error:
            yield from (_failure(cell, error) for cell in cells)
            task.advance(len(cells))
            return
        bench = Bench(run, source, folder / "work", _QUIET)
        for cell in cells:
            task.note(cell=f"{cell.config.dataset.name} {cell.arm} k={cell.config.dataset.k}")
            found = known.get(cell.work)
            row = cell.shares(found) if found else _measured(bench, cell)
            if not row.error:
                known[cell.work] = row
            yield row
            task.advance()


def _measured(bench: Bench, cell: Cell) -> CellResult:
    begun = time.monotonic()
    try:
        with memory_errors():
            metrics, facts = bench.measure(cell)
    except CodlocalError as error:
        return _failure(cell, error)
    return cell.blank.model_copy(
        update={
            "metrics": metrics,
            "facts": facts,
            "teacher_accuracy": bench.teacher_accuracy,
            "seconds": round(time.monotonic() - begun, 2),
        }
    )


def _failure(cell: Cell, error: CodlocalError) -> CellResult:
    reason = " ".join(f"{error.message} {error.hint}".split())
    return cell.blank.model_copy(update={"error": reason})
