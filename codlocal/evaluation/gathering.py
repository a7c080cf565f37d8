"""The results of several sweeps as one, as long as every point of a curve is of equal cells."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from codlocal.core import config as settings
from codlocal.core.errors import RunError
from codlocal.evaluation.comparison import mixed, place_of
from codlocal.evaluation.results import RESULTS, CellResult, planned_results

_AXES = ("profile", "dataset.k", "dataset.seed", "dataset.seeds", "distillation.method")


def gather(folders: Sequence[Path]) -> list[CellResult]:
    """The rows of sweeps; of equal cells the last one with a result counts.

    A cell that two sweeps with other axes have in common is a row of both, under either name.

    Raises:
        RunError: a folder is no sweep, or rows of unequal settings would make one curve.

    """
    rows: dict[str, CellResult] = {}
    places: dict[str, Path] = {}
    names: dict[str, tuple[str, dict[str, Any]]] = {}
    for folder in folders:
        for row in planned_results(folder):
            names[f"{row.key} {row.settings}"] = row.key, row.settings
            if row.key not in rows or not row.error:
                rows[row.key], places[row.key] = row, folder
    found = [rows[key].model_copy(update={"settings": own}) for key, own in names.values()]
    for first, second in mixed(found):
        _refuse(first, second, places[first.key], places[second.key])
    return found


def _refuse(row: CellResult, other: CellResult, place: Path, elsewhere: Path) -> None:
    found = _differences(_settings(place, row), _settings(elsewhere, other), row.settings)
    raise RunError(
        f"{place / RESULTS} and {elsewhere / RESULTS} have unequal cells under one name "
        f"({place_of(row)})" + (":\n  " + "\n  ".join(found) if found else "."),
        "Report them apart, or make what differs an axis of one grid: a setting in [vary], data by "
        "a `name` of its own.",
    )


def _differences(
    before: Mapping[str, Any] | None, after: Mapping[str, Any] | None, axes: Iterable[str]
) -> list[str]:
    """The settings in which two runs differ, but for those that cells of one run differ in too."""
    if before is None or after is None:
        return []
    within = tuple(f"{name}:" for name in (*_AXES, *axes))
    found = settings.differences(before, after)
    return [one for one in found if not one.startswith(("runtime.", *within))]


def _settings(place: Path, row: CellResult) -> dict[str, Any] | None:
    """The settings of the run that served a cell, if a sweep has just one that can have."""
    found = [settings.read_toml(path) for path in sorted(place.glob("runs/*/run.toml"))]
    fitting = [
        one
        for one in found
        if one.get("dataset", {}).get("name") == row.dataset
        and row.generator in {None, one.get("generator", {}).get("model")}
    ]
    return fitting[0] if len(fitting) == 1 else None
