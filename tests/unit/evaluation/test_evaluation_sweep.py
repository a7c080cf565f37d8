"""The rows of a sweep, from the table to the report."""

import csv
import json

import pyarrow.parquet
import pytest
from sweep_rows import failed, row

from codlocal.core import jsonl
from codlocal.core.errors import RunError
from codlocal.core.statistics import interval
from codlocal.evaluation.comparison import Difference, by_arm, compare, over_seeds, panels
from codlocal.evaluation.results import (
    PLAN,
    RESULTS,
    planned_results,
    read_results,
    write_tables,
)
from codlocal.evaluation.written import write_report

ROWS = [
    *(row("student", k, seed, 0.8 + 0.01 * seed) for k in (8, 16) for seed in (0, 1)),
    *(row("baseline", 8, seed, 0.7 + 0.03 * seed) for seed in (0, 1)),
    *(row("baseline", 16, seed, 0.83 - 0.1 * seed) for seed in (0, 1)),
    failed("setfit", 8, 0),
]


def test_the_last_row_of_a_cell_counts(tmp_path):
    first = failed("baseline", 8, 0)
    again = row("baseline", 8, 0, 0.7, key=first.key)
    jsonl.write_rows(tmp_path / RESULTS, [first, row("student", 8, 0, 0.8), again])
    found = read_results(tmp_path)
    assert found[first.key] == again
    assert len(found) == 2


def test_a_damaged_row_of_a_sweep_can_be_removed(tmp_path):
    (tmp_path / RESULTS).write_text('{"key": 1}\n')
    with pytest.raises(RunError, match=r"results\.jsonl, line 1, is not a valid") as caught:
        read_results(tmp_path)
    assert "Remove that line" in caught.value.hint and "--redo" not in caught.value.hint


def test_rows_of_earlier_grids_are_left_out(tmp_path):
    old, new = row("baseline", 8, 0, 0.1, key="old"), row("baseline", 8, 0, 0.7, key="new")
    jsonl.write_rows(tmp_path / RESULTS, [new, old])
    jsonl.write_json(tmp_path / PLAN, ["not done", "new"])
    assert planned_results(tmp_path) == [new]
    with pytest.raises(RunError, match=r"There is no sweep in .*nowhere"):
        planned_results(tmp_path / "nowhere")
    jsonl.write_json(tmp_path / "run" / "manifest.json", {})
    with pytest.raises(RunError) as caught:
        planned_results(tmp_path / "run")
    assert "codlocal pipeline --run" in caught.value.hint


@pytest.mark.parametrize("content", ["5", '{"a": 1}', "[[1]]", "["])
def test_a_plan_of_something_else_is_damaged(tmp_path, content):
    jsonl.write_text(tmp_path / PLAN, content)
    with pytest.raises(RunError, match=r"plan\.json is damaged"):
        planned_results(tmp_path)


def test_the_table_has_a_row_a_cell_and_a_column_a_setting(tmp_path):
    some, others = (
        {"distillation.student_layers": layers, "verification.x": x}
        for layers, x in ((3, 1), ("all", 0.5))
    )
    rows = [
        row("student", 8, 0, 0.8, settings=some),
        row("baseline", 8, 0, 0.7, settings=others),
        failed("setfit", 8, 0),
    ]
    write_tables(tmp_path, rows)
    with (tmp_path / "results.csv").open() as file:
        plain = list(csv.DictReader(file))
    table = pyarrow.parquet.read_table(tmp_path / "results.parquet").to_pylist()
    for written in (plain, table):
        assert [one["arm"] for one in written] == ["student", "baseline", "setfit"]
    assert table[0]["teacher_agreement"] == 0.8
    assert [one["distillation.student_layers"] for one in table] == ["3", "all", None]
    assert [one["verification.x"] for one in table] == [1, 0.5, None]
    assert plain[1]["edit_distance"] == "0.25"
    assert plain[2]["teacher_agreement"] == "" and "SetFit" in plain[2]["error"]


def test_series_are_means_over_seeds():
    student, baseline, setfit = by_arm(ROWS)
    assert student.sizes == [8, 16]
    point = student.point("teacher_agreement", 8)
    low, high = interval([0.8, 0.81])
    assert (point.mean, point.half) == pytest.approx((0.805, (high - low) / 2))
    assert str(point) == f"0.805 ±{(high - low) / 2:.3f}"
    assert baseline.values("fisher_trace", 16) == {0: 1.0, 1: 1.0}
    assert student.point("boundary_agreement", 8) is None
    assert setfit.curve("accuracy") == [] and setfit.point("accuracy", 8) is None
    assert over_seeds(8, []) is None and str(over_seeds(8, [0.5])) == "0.500"


def test_arms_are_told_apart_by_what_made_their_counterfactuals():
    axes = {"distillation.warm_start": "head", "verification.select": "minimal"}
    rows = [
        row("student", 8, 0, 0.8, settings=axes),
        row("student", 8, 0, 0.8, settings={**axes, "verification.select": "fluent"}),
        row("student", 8, 0, 0.8, settings=axes, generator="qwen"),
        row("baseline", 8, 0, 0.7, settings={**axes, "verification.select": None}),
    ]
    found = by_arm(rows)
    assert [one.arm for one in found] == [
        "student (gemma, select minimal)",
        "student (gemma, select fluent)",
        "student (qwen, select minimal)",
        "baseline",
    ]
    assert list(panels(found)) == [("sst2", "kd", "warm_start head")]


def test_unequal_cells_are_never_one_point():
    twice = row("student", 8, 0, 0.8)
    assert len(by_arm([twice, twice])) == 1
    with pytest.raises(RunError, match=r"one name \(sst2, kd, student, k = 8, seed 0\)") as caught:
        by_arm([twice, row("student", 8, 0, 0.6, key="other")])
    assert "`name` of its own" in caught.value.hint


def test_differences_are_paired_by_seed_and_name_the_seeds_that_lost():
    student, baseline, _ = by_arm(ROWS)
    ahead, mixed = compare(student, baseline, "teacher_agreement")
    assert ahead.mean == pytest.approx(0.09)
    assert ahead.worse_seeds == ()
    assert mixed.mean == pytest.approx(0.025)
    assert mixed.worse_seeds == (0,)
    assert mixed.interval == pytest.approx(interval([-0.03, 0.08]))
    assert mixed.verdict == "open"
    only = compare(student, by_arm([row("x", 8, 1, 0.9)])[0], "teacher_agreement")
    assert [str(one) for one in only] == ["-0.090 (one seed)"]


@pytest.mark.parametrize(("gap", "verdict"), [(0.1, "ahead"), (-0.1, "behind"), (0.0, "open")])
def test_a_verdict_needs_the_whole_interval(gap, verdict):
    ours = by_arm([row("student", 8, seed, 0.7 + 0.01 * seed) for seed in range(3)])[0]
    rows = [row("x", 8, seed, 0.7 - gap + 0.01 * (seed + seed % 2 - 0.5)) for seed in range(3)]
    assert compare(ours, by_arm(rows)[0], "teacher_agreement")[0].verdict == verdict


def test_seeds_of_one_difference_give_no_verdict():
    ours = by_arm([row("student", 8, seed, 0.7 + 0.01 * seed) for seed in range(3)])[0]
    other = by_arm([row("x", 8, seed, 0.8 + 0.01 * seed) for seed in range(3)])[0]
    (found,) = compare(ours, other, "teacher_agreement")
    assert found.mean == pytest.approx(-0.1) and found.verdict == "open"


def test_a_seed_with_one_and_the_same_result_has_not_lost():
    ours = by_arm([row("student", 8, seed, 0.7 + 0.1 * seed) for seed in range(3)])[0]
    others = [row("x", 8, seed, it) for seed, it in enumerate((0.7, 0.7, 0.95))]
    (found,) = compare(ours, by_arm(others)[0], "teacher_agreement")
    assert found.worse_seeds == (2,)


@pytest.mark.parametrize("bounds", [(0.0, 0.2), (-0.2, 0.0)])
def test_an_interval_that_ends_at_nothing_leaves_it_open(bounds):
    found = Difference(("sst2", "kd", ""), "student", "x", 8, sum(bounds) / 2, bounds, ())
    assert found.verdict == "open"


def test_the_report_has_the_numbers_the_losses_and_the_failures(tmp_path):
    lost = write_report(ROWS, tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert [(one.other, one.k, one.worse_seeds) for one in lost] == [("baseline", 16, (0,))]
    assert "![sst2, kd](figure-1.png)" in text
    assert f"| student | {by_arm(ROWS)[0].point('teacher_agreement', 8)} |" in text
    assert "| with counterfactuals | 0.719 | 0.781 |" in text
    assert "| sst2, kd, student | baseline | 16 | +0.025 (" in text
    assert "| sst2, kd | setfit | 8 | 0 | SetFit \\| is not there. |" in text
    assert "near the teacher's boundary" not in text
    for ending in ("png", "svg"):
        assert (tmp_path / f"figure-1.{ending}").stat().st_size > 1000
    before = (tmp_path / "figure-1.svg").read_bytes()
    write_report(ROWS, tmp_path)
    assert (tmp_path / "figure-1.svg").read_bytes() == before


def test_every_teacher_is_in_the_report_beside_what_it_was_the_teacher_of(tmp_path):
    rows = [
        row("student", 8, seed, 0.8, teacher_accuracy=accuracy, settings={"teacher.epochs": epochs})
        for epochs, accuracy in ((1, 0.7), (4, 0.95))
        for seed in (0, 1)
    ]
    write_report(rows, tmp_path)
    panels = (tmp_path / "report.md").read_text().split("\n## ")
    for panel, epochs, accuracy in zip(panels[1:3], (1, 4), ("0.700", "0.950"), strict=True):
        assert panel.startswith(f"sst2, kd, teacher epochs {epochs}\n")
        assert panel.count("Teacher's accuracy ") == 1
        assert f"Teacher's accuracy {accuracy}, 100 test texts." in panel


def test_settings_of_one_name_are_told_apart():
    found = by_arm(
        row("baseline", k, 0, 0.7, settings={f"{section}.max_length": 64})
        for k, section in ((8, "teacher"), (16, "distillation"))
    )
    assert [one.setting for one in found] == ["teacher max_length 64", "max_length 64"]


def test_a_student_behind_another_arm_is_reported(tmp_path):
    rows = [*ROWS, *(row("logistic", 8, seed, 0.9 + 0.0102 * seed) for seed in (0, 1))]
    lost = write_report(rows, tmp_path)
    assert [(one.other, one.k, one.worse_seeds) for one in lost] == [
        ("baseline", 16, (0,)),
        ("logistic", 8, (0, 1)),
    ]
    text = (tmp_path / "report.md").read_text()
    assert "| logistic | 8 | -0.100 (-0.101 to -0.099) | yes | 0, 1 |" in text


def test_what_is_printed_says_of_which_data_and_method_a_student_lost(tmp_path, call):
    rows = [
        row(arm, 8, 0, agreement, dataset=dataset, settings={"distillation.steps": 5})
        for dataset, ahead in (("sst2", 0.7), ("imdb", 0.9))
        for arm, agreement in (("student", 0.8), ("baseline", ahead))
    ]
    jsonl.write_rows(tmp_path / RESULTS, rows)
    jsonl.write_json(tmp_path / PLAN, [one.key for one in rows])
    code, out, err = call("report", str(tmp_path), "--json")
    assert code == 0
    (lost,) = json.loads(out)["lost"]
    assert (lost["dataset"], lost["method"], lost["setting"]) == ("imdb", "kd", "steps 5")
    assert "imdb, kd, steps 5, student lost to baseline at k = 8: -0.100" in err


def test_students_are_compared_with_arms_of_the_same_counterfactuals(tmp_path):
    rounds = (["infill"], ["guided"], None)
    rows = [
        row(arm, 8, 0, agreement, generator=one and "gemma", settings={"generator.rounds": one})
        for arm, agreement in (("student", 0.8), ("any-flip", 0.9), ("baseline", 0.95))
        for one in rounds
        if (one is None) == (arm == "baseline")
    ]
    assert [(one.series, one.other) for one in write_report(rows, tmp_path)] == [
        (f"student (rounds {one})", other)
        for one in rounds[:2]
        for other in (f"any-flip (rounds {one})", "baseline")
    ]


def test_arms_of_a_sweep_without_an_axis_are_not_taken_for_its_values(tmp_path):
    """Of two sweeps, of which one has the axis."""
    axis = {"verification.select": "fluent"}
    rows = [
        row("student", 8, 0, 0.8, settings=axis),
        row("any-flip", 8, 0, 0.9, generator="gemma"),
        row("baseline", 8, 0, 0.9),
    ]
    assert [one.other for one in write_report(rows, tmp_path)] == ["baseline"]


def test_a_mean_of_fewer_seeds_says_so(tmp_path):
    rows = [row("student", 8, seed, 0.8) for seed in range(3)]
    rows += [row("baseline", 8, 1, 0.7), failed("baseline", 8, 2)]
    write_report(rows, tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "| student | 0.800 ±0.000 |" in text
    assert "| baseline | 0.700, 1 of 3 seeds |" in text


def test_equal_means_are_a_tie_whatever_the_order_of_the_seeds(tmp_path):
    figures = {"student": (0.3, 0.2, 0.1), "baseline": (0.1, 0.2, 0.3)}
    rows = [row(arm, 8, seed, it) for arm, them in figures.items() for seed, it in enumerate(them)]
    (lost,) = write_report(rows, tmp_path)
    assert (lost.mean, lost.worse_seeds) == (0, (2,))
    assert "| student - baseline | +0.000 (" in (tmp_path / "report.md").read_text()


@pytest.mark.parametrize(
    ("rows", "said"),
    [([failed("student", 8, 0), failed("baseline", 8, 0)], "0 results. "),
     ([row("baseline", 8, 0, 0.7), row("logistic", 8, 0, 0.8)], "2 results, seeds 0. ")],
)  # fmt: skip
def test_a_student_that_was_not_compared_has_not_won(tmp_path, rows, said):
    assert write_report(rows, tmp_path) == []
    text = (tmp_path / "report.md").read_text()
    assert said in text
    assert "No student was compared with another arm." in text
    assert "In no run" not in text
