import io

import pytest
from evaluation_rig import TEACHER, N, evaluate, prepare
from rich.console import Console as RichConsole

from codlocal.core.statistics import wilson
from codlocal.evaluation.report import caption, table


def drawn(metrics, width=140):
    console = RichConsole(width=width, file=io.StringIO())
    console.print(table(metrics))
    return console.file.getvalue()


def test_the_table_shows_half_widths_over_seeds(tmp_path):
    found = evaluate(tmp_path, prepare(tmp_path))
    shown = drawn(found)
    assert "made (file), k = 8" in shown
    low, high = found["intervals"]["student"]["accuracy"]
    assert f"{found['student']['accuracy']:.3f} ±{(high - low) / 2:.3f}" in shown
    assert shown.index("teacher") < shown.index("student") < shown.index("baseline")
    assert "1.000 ±" not in shown
    assert "student - baseline, agreement: +0.100 (+0.100 to +0.100)" in shown


def test_the_table_shows_both_bounds_over_texts(tmp_path):
    shown = drawn(evaluate(tmp_path, prepare(tmp_path, seeds=1)))
    low, high = wilson(290, N)
    assert "0.967 " in shown and f"[{low:.3f}, {high:.3f}]" in shown
    assert "95% intervals: wilson over test texts; 1 seed" in shown
    assert "(no interval from one seed)" in shown


@pytest.mark.parametrize("seeds", [1, 3])
def test_no_figure_is_torn_apart_in_80_columns(tmp_path, seeds):
    found = evaluate(tmp_path, prepare(tmp_path, seeds=seeds))
    for who in ("teacher", "student", "baseline"):
        found[who].update(n=5000, boundary_n=5000, boundary_agreement=0.5)
    shown = drawn(found, width=80)
    [low, high] = found["intervals"]["student"]["teacher_agreement"]
    half = f"±{(high - low) / 2:.3f}"
    assert (f"[{low:.3f}, {high:.3f}]" if seeds == 1 else half) in shown
    assert "agreement on 5000 texts near the boundary: student 0.500, baseline 0.500" in shown


def test_the_caption_tells_of_calibration_and_of_the_boundary(tmp_path):
    unsure = TEACHER.copy()
    unsure[:3] = [[0.7, 0.3], [0.3, 0.7], [0.5, 0.5]]
    found = evaluate(tmp_path, prepare(tmp_path, seeds=1), teacher=unsure)
    shown = caption(found)
    assert "agreement on 3 texts near the boundary: student 0.000" in shown
    error = abs(0.7 - 290 / N)
    assert found["student"]["calibration_error"] == pytest.approx(error)
    assert f"expected calibration error: teacher 0.103, student {error:.3f}" in shown


def test_the_caption_is_honest_about_zero_and_absent_baselines(tmp_path):
    found = evaluate(tmp_path, prepare(tmp_path))
    found["intervals"]["difference"]["teacher_agreement"]["interval"] = [-0.1, 0.3]
    assert "(-0.100 to +0.300, which includes 0)" in caption(found)
    del found["intervals"]["difference"], found["baseline"]
    assert "baseline" not in drawn(found)
