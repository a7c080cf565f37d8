"""Names that are anybody's, in a report."""

import pytest
from sweep_rows import failed, row

from codlocal.evaluation.written import REPORT, write_report


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("<img src=x>", r"\<img src=x\>"),
        ("a|b\nc", r"a\|b c"),
        ("[x](http://y)", r"\[x\](http://y)"),
        ("uci_yelp", "uci_yelp"),
        ("_so_", r"\_so\_"),
    ],
)
def test_a_name_is_shown_as_it_is(tmp_path, name, shown):
    rows = [row("student", 8, seed, 0.5, dataset=name) for seed in (0, 1)]
    rows.append(failed("student", 8, 2).model_copy(update={"dataset": name, "error": name}))
    write_report(rows, tmp_path)
    text = (tmp_path / REPORT).read_text()
    assert f"## {shown}, kd" in text
    assert f"| {shown} |" in text


def test_a_student_that_lost_in_one_seed_alone_is_told_too(tmp_path):
    found = {"student": (0.9, 0.7), "baseline": (0.8, 0.75)}
    rows = [row(arm, 8, seed, found[arm][seed]) for arm in found for seed in (0, 1)]
    (lost,) = write_report(rows, tmp_path)
    assert (lost.worse_seeds, lost.mean > 0) == ((1,), True)
