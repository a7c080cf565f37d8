"""The two moons, drawn."""

import json

import pytest

pytestmark = pytest.mark.integration


def test_the_theory_is_drawn(tmp_path, call):
    out = tmp_path / "theory"
    command = ("theory", "--out", str(out), "--json")
    _, said, _ = call(*command, "--seeds", "1", "-k", "6")
    summary = json.loads(said)
    assert [row["arm"] for row in summary["results"]] == ["student", "baseline"]
    assert out.joinpath("two-moons.svg").stat().st_size > 1000
    assert json.loads(out.joinpath("two-moons.json").read_text()) == summary
    for k in ("7", "602"):
        code, said, _ = call(*command, "-k", k)
        assert code == 1
        assert "must be even, and 600 at most" in json.loads(said)["error"]
