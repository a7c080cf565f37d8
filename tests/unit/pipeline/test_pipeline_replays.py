"""In what a recorded run differs from the one that replays it."""

import pytest
from runs import config, run_with_data

from codlocal import __version__
from codlocal.pipeline.replays import differences

OPEN = "the recorded run has not finished its generate stage"


def begun(path):
    """A run that was stopped while it generated."""
    with pytest.raises(KeyboardInterrupt), run_with_data(path) as run, run.stage("generate"):
        raise KeyboardInterrupt
    return path


def test_a_run_that_was_never_finished_is_said_to_be_so_first(tmp_path):
    theirs = begun(tmp_path / "theirs")
    settings = config(generator={"seed": 3})
    with run_with_data(tmp_path / "ours", settings) as run:
        assert differences(run, theirs) == [OPEN, "generator.seed: 0 -> 3"]
    with run_with_data(theirs) as run, run.stage("generate"):
        pass
    with run_with_data(tmp_path / "ours", settings) as run:
        assert differences(run, theirs) == ["generator.seed: 0 -> 3"]


def test_a_manifest_that_can_not_be_read_tells_nothing(tmp_path):
    theirs = begun(tmp_path / "theirs")
    theirs.joinpath("manifest.json").write_text("{}")
    with run_with_data(tmp_path / "ours") as run:
        assert differences(run, theirs) == []


def test_a_run_of_another_version_is_said_to_be_one(tmp_path):
    theirs = tmp_path / "theirs"
    with run_with_data(theirs) as run, run.stage("generate"):
        pass
    path = theirs / "manifest.json"
    path.write_text(path.read_text().replace(f'"version": "{__version__}"', '"version": "0.0.1"'))
    with run_with_data(tmp_path / "ours") as run:
        assert differences(run, theirs) == ["another version of codlocal made it"]


def test_what_the_search_heeds_of_later_stages_is_told_too(tmp_path):
    theirs = begun(tmp_path / "theirs")
    settings = config(verification={"per_example": 3, "select": "fluent"})
    with run_with_data(tmp_path / "ours", settings) as run:
        assert differences(run, theirs) == [OPEN, "verification.per_example: 1 -> 3"]
