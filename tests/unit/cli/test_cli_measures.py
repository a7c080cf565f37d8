"""The choice of counterfactuals and their measures, from the command line."""

import json
from math import exp

import pytest
from click.testing import CliRunner
from fakes import FakeEngine, FakeTeacher, score_of
from runs import REVIEWS, config, edits_of_the_first, run_with_data, write_search

from codlocal.cli import cli
from codlocal.cli.options import config_of
from codlocal.core.errors import ConfigError, DataError, RunError
from codlocal.core.records import Original
from codlocal.models import teacher
from codlocal.pipeline import opening

EDITS = ("The food was bad and the staff rude.", "Awful food.", "The food was so good.")
PAIR = {
    "text": "I love it here", "label": 1,
    "counterfactual": "I hate it here", "counterfactual_label": 0,
}  # fmt: skip


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A folder with a run whose candidates are written, and a file of one written pair."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(teacher, "load_teacher", lambda _run: FakeTeacher())
    with run_with_data(tmp_path / "r", config()) as run:
        with run.stage("teacher"):
            pass
        asked = Original(example_id=REVIEWS[0].id, probabilities=(0.1, 0.9), label=1)
        write_search(run, edits_of_the_first(EDITS), [asked])
    tmp_path.joinpath("people.jsonl").write_text(json.dumps(PAIR) + "\n")
    return tmp_path


def invoke(*arguments):
    return CliRunner().invoke(cli, list(arguments))


def test_the_options_are_settings():
    given = config_of({"select": "diverse", "cfe_per_example": 3})
    assert (given.verification.select, given.verification.per_example) == ("diverse", 3)
    with pytest.raises(ConfigError, match="per_example"):
        config_of({"cfe_per_example": 0})


def test_verify_shows_the_measures_of_what_it_chose():
    options = ("--run", "r", "--cfe-per-example", "2", "--set", "verification.max_edit_distance=2")
    shown = invoke("verify", *options)
    assert shown.exception is None, shown.output
    assert "Counterfactuals" in shown.stdout
    summary = json.loads(invoke("verify", "--run", "r", "--json").stdout)
    total = summary["counterfactuals"]["total"]
    assert (total["candidates"], total["flips"], total["chosen"]["n"]) == (3, 2, 2)


def test_people_stand_beside_the_run():
    invoke("verify", "--run", "r")
    found = json.loads(invoke("measures", "--run", "r", "--pairs", "people.jsonl", "--json").stdout)
    assert found["total"]["flips"] == 2
    assert (found["people"]["flips"], found["people"]["good"]["edit_distance"]) == (1, 0.25)
    shown = invoke("measures", "--run", "r", "--pairs", "people.jsonl")
    assert "people" in shown.stdout
    assert "--perplexity has the run's generator" in shown.stdout
    assert "people's flips all count as good" in " ".join(shown.stdout.split())
    assert "people" not in invoke("measures", "--run", "r").stdout


@pytest.mark.parametrize("replayed", [False, True])
def test_the_runs_generator_scores_people_and_the_run_stays_as_it_is(place, monkeypatch, replayed):
    more = ("--set", "runtime.replay=elsewhere") if replayed else ()
    assert invoke("verify", "--run", "r", *more).exception is None
    before = {one: one.read_bytes() for one in place.glob("r/*.*")}
    engine, opened = FakeEngine(), []

    def scorer(run, _console):
        opened.append(run.config.runtime.replay)
        return engine

    monkeypatch.setattr(opening, "scorer", scorer)
    options = ("--run", "r", "--pairs", "people.jsonl", "--perplexity")
    found = json.loads(invoke("measures", *options, "--json").stdout)
    assert opened == [None]
    assert sorted(engine.scored) == ["I hate it here", "I love it here"]
    assert engine.closed == 1
    expected = exp(score_of("I love it here").mean - score_of("I hate it here").mean)
    assert found["people"]["good"]["perplexity_ratio"] == pytest.approx(expected)
    assert "--perplexity" not in invoke("measures", *options).stdout
    assert {one: one.read_bytes() for one in place.glob("r/*.*")} == before


def test_perplexity_without_people_is_refused():
    invoke("verify", "--run", "r")
    result = invoke("measures", "--run", "r", "--perplexity")
    assert isinstance(result.exception, ConfigError)
    assert "--pairs" in result.exception.hint


def test_there_is_nothing_to_show_before_the_verify_stage(place):
    result = invoke("measures", "--run", "r")
    assert isinstance(result.exception, RunError)
    assert "codlocal verify" in result.exception.hint
    nowhere = invoke("measures", "--run", "nowhere").exception
    assert isinstance(nowhere, RunError)
    assert nowhere.message == "There is no run in nowhere."
    assert not place.joinpath("nowhere").exists()
    assert invoke("measures").exit_code == 2


def test_a_file_of_something_else_is_refused(place):
    invoke("verify", "--run", "r")
    place.joinpath("people.jsonl").write_text('{"a": 1}\n')
    result = invoke("measures", "--run", "r", "--pairs", "people.jsonl")
    assert isinstance(result.exception, DataError)
