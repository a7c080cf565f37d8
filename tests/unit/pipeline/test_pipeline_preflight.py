"""What is found missing before a run begins."""

import importlib.util

import pytest

from codlocal.core.config import resolve
from codlocal.core.errors import ConfigError
from codlocal.pipeline.preflight import check_engine, check_packages


@pytest.mark.parametrize(
    ("settings", "package"),
    [
        ({"teacher": {"quantization": "nf4"}}, "bitsandbytes peft"),
        ({"distillation": {"quantization": "nf4"}}, "bitsandbytes peft"),
        ({"runtime": {"tracker": "tensorboard"}}, "tensorboard"),
        ({"runtime": {"tracker": "wandb"}}, "wandb"),
        ({"runtime": {"tracker": "mlflow"}}, "mlflow"),
    ],
)
def test_a_missing_package_is_named_with_the_command_that_installs_it(
    monkeypatch, settings, package
):
    config = resolve([settings])
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="not installed") as caught:
        check_packages(config)
    assert caught.value.hint == f"pip install {package}"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    check_packages(config)


def test_what_is_not_asked_for_needs_no_package(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    check_packages(resolve([]))


@pytest.mark.parametrize("content", ["", "no row\n", '{"text": "good", "label": 1}\n'])
def test_a_file_without_replies_can_not_be_replayed(tmp_path, content):
    path = tmp_path / "replies.jsonl"
    path.write_text(content)
    config = resolve([{"runtime": {"replay": str(path)}}])
    with pytest.raises(ConfigError, match="no recorded replies") as caught:
        check_engine(config)
    assert "--replay takes a run folder" in caught.value.hint
