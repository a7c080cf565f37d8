"""Comparing generators, from the command line."""

import pytest
from click.testing import CliRunner
from rich.table import Table
from runs import config, run_with_data

from codlocal.cli import cli
from codlocal.pipeline import comparison, comparison_table


@pytest.mark.parametrize("source", [{"server_url": "http://x"}, {"replay": "/theirs"}])
def test_where_a_runs_own_replies_came_from_does_not_count(tmp_path, monkeypatch, source):
    with run_with_data(tmp_path, config(runtime=source, dataset={"k": 4})):
        pass
    asked = []

    def compare(_folder, base, *_more):
        asked.append(base)
        return {"generators": []}

    monkeypatch.setattr(comparison, "contenders", lambda *_words, **_more: [])
    monkeypatch.setattr(comparison, "compare", compare)
    monkeypatch.setattr(comparison_table, "table", lambda _result: Table())
    done = CliRunner().invoke(cli, ["compare-generators", "a", "b", "--run", str(tmp_path)])
    assert done.exception is None
    assert (asked[0].runtime.server_url, asked[0].runtime.replay) == (None, None)
    assert asked[0].dataset.k == 4
