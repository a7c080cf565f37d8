"""How generators that are to be compared are named and asked."""

import json

import pytest

from codlocal.core.console import Console
from codlocal.core.errors import ConfigError
from codlocal.models import locate
from codlocal.pipeline.comparison import Contender, contenders

QUIET = Console(-1)


@pytest.fixture
def models(tmp_path, monkeypatch):
    """Two model folders, of which `talker` has a chat template, and how names are resolved."""
    for name in ("talker", "base"):
        (tmp_path / name).mkdir()
    (tmp_path / "talker" / "chat_template.jinja").write_text("{{ messages }}")
    (tmp_path / "base" / "tokenizer_config.json").write_text("{}")
    monkeypatch.setattr(locate, "resolve", lambda name, **_more: tmp_path / name.rsplit("/", 1)[-1])
    return tmp_path


def test_a_model_with_a_chat_template_is_asked_by_chat(models):
    words = ["hub/talker", str(models / "base"), "hub/talker:completion", "hub/base:chat"]
    assert contenders(words, QUIET, offline=True) == [
        Contender("talker", "hub/talker", "chat"),
        Contender("base", str(models / "base"), "completion"),
        Contender("talker-completion", "hub/talker", "completion"),
        Contender("base-chat", "hub/base", "chat"),
    ]


def test_a_chat_template_may_be_in_the_tokenizers_settings(models):
    settings = {"chat_template": "{{ messages }}"}
    (models / "base" / "tokenizer_config.json").write_text(json.dumps(settings))
    assert contenders(["hub/base"], QUIET, offline=True)[0].prompting == "chat"


def test_two_generators_of_one_name_would_share_a_folder(models):
    with pytest.raises(ConfigError, match="called 'base'"):
        contenders(["hub/base", "other/base"], QUIET, offline=True)
