"""Which cells of a sweep have a student that can be made, and what is wrong with the others."""

from collections.abc import Callable, Iterable

from codlocal.core.config import Config
from codlocal.core.console import Console
from codlocal.core.errors import CodlocalError
from codlocal.core.sections import Section
from codlocal.distillation.arms import ARMS
from codlocal.distillation.finetune import check_student
from codlocal.distillation.setfit_peer import check_setfit
from codlocal.models.locate import resolve
from codlocal.pipeline import preflight
from codlocal.pipeline.cells import Cell

Refused = list[tuple[Cell, CodlocalError]]


def possible(cells: Iterable[Cell], console: Console) -> tuple[list[Cell], Refused]:
    """The cells whose student can be made, and the others with the reason; models are fetched."""

    def check(config: Config) -> None:
        preflight.check_packages(config)
        base = resolve(config.teacher.model, console=console, offline=config.runtime.offline)
        check_student(config, base, console)

    return _sorted_out(cells, check)


def foreseen(cells: Iterable[Cell]) -> Refused:
    """The cells of which can be known now that they fail, from what is at hand."""

    def check(config: Config) -> None:
        preflight.check_device(config)
        preflight.check_packages(config)
        preflight.check_student_at_hand(config)

    return _sorted_out(cells, check)[1]


def _sorted_out(
    cells: Iterable[Cell], check: Callable[[Config], None]
) -> tuple[list[Cell], Refused]:
    found: list[Cell] = []
    refused: Refused = []
    known: dict[tuple[Section, bool], CodlocalError | None] = {}
    for cell in cells:
        alike = cell.config.distillation, ARMS[cell.arm].learner == "setfit"
        if alike not in known:
            known[alike] = _problem(cell, check)
        problem = known[alike]
        if problem is None:
            found.append(cell)
        else:
            refused.append((cell, problem))
    return found, refused


def _problem(cell: Cell, check: Callable[[Config], None]) -> CodlocalError | None:
    try:
        if ARMS[cell.arm].learner == "setfit":
            check_setfit()
        check(cell.config)
    except CodlocalError as error:
        return error
    return None
