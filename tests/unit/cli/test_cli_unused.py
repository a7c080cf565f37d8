"""Options that others leave without effect."""

from pathlib import Path

import pytest

from codlocal.cli.options import config_of, run_path
from codlocal.core.errors import ConfigError


@pytest.mark.parametrize(
    ("given", "more", "message"),
    [
        ({"source": "hub"}, {"data": "/mine.csv"}, "--source .* those of /mine.csv"),
        ({"server_url": "http://x"}, {"replay": "/theirs"}, "--server-url .* from /theirs"),
        ({"engine": "transformers"}, {"server_url": "http://x"}, r"engine \"transformers\" would"),
    ],
)
def test_an_option_that_would_not_be_used_is_refused(given, more, message):
    with pytest.raises(ConfigError, match=message):
        config_of({**given, **more})
    config_of(given)
    config_of(more)


def test_a_confused_student_is_for_targets_by_confusion():
    given = {"confused_student": "/s"}
    with pytest.raises(ConfigError, match="--confused-student would not be used"):
        config_of(given)
    config_of({**given, "targets": "confusion"})
    assert run_path(given) == Path("runs/yelp-default"), "the run may have the targets"


def test_the_settings_of_a_file_need_not_all_be_used(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("[runtime]\nserver_url = 'http://x'\n[generator]\nconfused_student = '/s'\n")
    assert config_of({"config_file": path, "replay": "/theirs"}).runtime.replay == "/theirs"
