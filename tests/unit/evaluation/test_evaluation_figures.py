"""The figures of a report."""

import pytest
from sweep_rows import row

from codlocal.core.errors import ConfigError, RunError
from codlocal.evaluation import figures
from codlocal.evaluation.comparison import by_arm
from codlocal.evaluation.published import published
from codlocal.evaluation.written import write_report


def test_no_two_arms_look_alike():
    figure = figures._panel(by_arm(row(f"arm {at}", 8, 0, 0.8) for at in range(14)))
    for axes in figure.axes:
        looks = [(one[0].get_color(), one[0].get_marker()) for one in axes.containers]
        assert len(looks) == len(set(looks)) == 14


def test_many_arms_stand_at_their_own_k():
    figure = figures._panel(by_arm(row(f"arm {at}", k, 0, 0.8) for at in range(60) for k in (4, 8)))
    for axes in figure.axes:
        places = [one[0].get_xdata() for one in axes.containers]
        assert max(four for four, _ in places) < min(eight for _, eight in places)


def test_published_accuracies_are_seen_at_a_single_k_and_far_from_ours():
    figure = figures._panel(by_arm([row("student", 8, 0, 1.0)]))
    _, right = figure.axes
    (grey,) = (one for one in right.lines if one.get_label() == "published baseline")
    assert grey.get_ydata().tolist() == [0.617] and grey.get_marker() == "."
    assert right.get_ylim() == pytest.approx((0.517, 1.0))


def test_a_dollar_in_a_name_is_no_formula(tmp_path):
    name = r"a$\q$"
    rows = [row("student", 8, 0, 0.8, dataset=name, settings={"verification.x": name})]
    write_report(rows, tmp_path)
    assert (tmp_path / "figure-1.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("name", "content"), [("report.md", "# Quarterly report\n"), ("figure-1.svg", "mine")]
)
def test_files_that_are_no_report_of_ours_are_not_written_over(tmp_path, name, content):
    rows = [row("student", 8, 0, 0.8)]
    tmp_path.joinpath(name).write_text(content)
    with pytest.raises(RunError, match=rf"{name} is of no report") as caught:
        write_report(rows, tmp_path)
    assert "--out" in caught.value.hint
    assert [one.read_text() for one in tmp_path.iterdir()] == [content]
    tmp_path.joinpath(name).unlink()
    for _ in range(2):
        write_report(rows, tmp_path)


def test_without_matplotlib_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(figures.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="matplotlib") as caught:
        write_report([row("student", 8, 0, 0.8)], tmp_path)
    assert "codlocal[report]" in caught.value.hint
    assert not list(tmp_path.iterdir())


def test_published_curves_are_whole():
    table = published()
    assert all(len(one.baseline) == len(one.student) == len(table.k) for one in table.curves)
    assert table.find("amazon_polarity", "kd") == table.find("amazon", "kd")
    assert table.find("sst2", "ted").student[-1] == 0.879
    assert table.find("yelp", "kd") is None
