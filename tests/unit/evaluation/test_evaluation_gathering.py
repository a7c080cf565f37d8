"""Several sweeps in one report."""

import pytest

from codlocal.core import jsonl
from codlocal.core.config import resolve
from codlocal.core.errors import RunError
from codlocal.core.records import Metrics
from codlocal.evaluation.comparison import by_arm
from codlocal.evaluation.gathering import gather
from codlocal.evaluation.results import PLAN, RESULTS, CellResult


def row(key, seed=0, agreement=0.8, **changes):
    metrics = Metrics(
        accuracy=0.5, macro_f1=0.5, matthews=0.1, teacher_agreement=agreement,
        calibration_error=0.1, brier=0.2, boundary_agreement=None, boundary_n=0, n=100,
    )  # fmt: skip
    made = CellResult(
        key=key, dataset="yelp", generator=None, method="kd", arm="baseline", k=8, seed=seed,
        settings={}, curve="1", metrics=metrics,
    )  # fmt: skip
    return made.model_copy(update=changes)


def sweep(folder, *rows, **sections):
    jsonl.write_rows(folder / RESULTS, rows)
    jsonl.write_json(folder / PLAN, [one.key for one in rows])
    if sections:
        jsonl.write_text(folder / "runs" / "yelp-1" / "run.toml", resolve([sections]).to_toml())
    return folder


def test_equal_cells_count_once_and_the_last_result_counts(tmp_path):
    first = sweep(tmp_path / "a", row("x", agreement=0.7), row("y", seed=1, agreement=0.6))
    failed = row("y", seed=1, metrics=None, error="no disk")
    second = sweep(tmp_path / "b", row("x", agreement=0.8), failed)
    rows = gather([first, second])
    assert len(rows) == 2
    assert by_arm(rows)[0].values("teacher_agreement", 8) == {0: 0.8, 1: 0.6}


def test_a_cell_of_two_sweeps_with_other_axes_is_in_the_curves_of_both(tmp_path):
    axis = {"distillation.warm_start": "none"}
    first = sweep(tmp_path / "a", row("x", agreement=0.7), row("y", k=16))
    second = sweep(tmp_path / "b", row("x", agreement=0.8, settings=axis))
    plain, named = by_arm(gather([first, second]))
    assert plain.sizes == [8, 16] and named.sizes == [8]
    assert plain.values("teacher_agreement", 8) == named.values("teacher_agreement", 8) == {0: 0.8}


def test_cells_that_differ_in_what_a_series_shows_go_together(tmp_path):
    first = sweep(tmp_path / "a", row("x"), row("y", seed=1), row("z", k=16))
    second = sweep(tmp_path / "b", row("q", arm="logistic"), row("r", dataset="imdb"))
    assert len(gather([first, second])) == 5


def test_unequal_cells_of_one_name_are_refused_with_what_differs(tmp_path):
    steps = [
        {"distillation": {"steps": count}, "dataset": {"k": k}} for count, k in ((5, 8), (9, 4))
    ]
    first = sweep(tmp_path / "a", row("x"), **steps[0])
    second = sweep(tmp_path / "b", row("y"), **steps[1])
    with pytest.raises(RunError, match="unequal cells") as caught:
        gather([first, second])
    assert "(yelp, kd, baseline, k = 8, seed 0):\n  distillation.steps: 5 -> 9" in (
        caught.value.message
    )
    assert "dataset.k" not in caught.value.message
    for folder in (first, second):
        assert str(folder / RESULTS) in caught.value.message
    assert "[vary]" in caught.value.hint


def test_unequal_cells_are_refused_also_where_the_runs_are_gone(tmp_path):
    folders = [sweep(tmp_path / name, row(name)) for name in "ab"]
    with pytest.raises(RunError, match=r"seed 0\)\.$"):
        gather(folders)


def test_points_of_one_curve_differ_in_k_and_seed_only(tmp_path):
    first = sweep(tmp_path / "a", row("x", curve="1"), distillation={"steps": 5})
    more = sweep(tmp_path / "b", row("y", seed=1, curve="1"), row("z", k=16, curve="1"))
    assert len(gather([first, more])) == 3
    other = sweep(tmp_path / "d", row("v", k=16, curve="2"), distillation={"steps": 9})
    with pytest.raises(RunError, match="unequal cells") as caught:
        gather([first, other])
    assert "distillation.steps: 5 -> 9" in caught.value.message
