"""What is found missing before a run begins."""

import importlib.util
import json
import sys

import pytest
from runs import config, run_with_data

from codlocal.core import jsonl
from codlocal.core.config import resolve
from codlocal.core.console import Console
from codlocal.core.errors import ConfigError, ModelError
from codlocal.core.run import RunFolder
from codlocal.generation.engines.recording import Exchange, Generator, Question
from codlocal.models import locate
from codlocal.pipeline.preflight import (
    check_engine,
    check_generator,
    check_kept,
    check_machine,
    check_packages,
    fetch_generator,
)


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


def test_a_redo_that_could_not_be_done_is_refused_before_anything_is_set_aside(tmp_path):
    replay = {"replay": str(tmp_path), "device": "cpu"}
    asker = Generator(name="a", engine="vllm", prompting="completion", weights="w")
    row = Exchange(generator=asker, question=Question(prompt="good"))
    with run_with_data(tmp_path, config(runtime=replay)) as run:
        jsonl.write_rows(run.file("replies.jsonl"), [row])
        check_kept(run, "verify", "verify")
        with pytest.raises(ConfigError, match="would be set aside with what is redone"):
            check_kept(run, "verify", "generate")
    with run_with_data(tmp_path / "other", config(runtime=replay)) as run:
        check_kept(run, "verify", "generate")
    settings = config(runtime=replay, generator={"prompt": "/nowhere.jinja"})
    with pytest.raises(ConfigError, match="There is no prompt") as caught:
        check_kept(RunFolder(tmp_path / "other", settings), "verify", "generate")
    assert caught.value.hint.startswith("Tasks with a prompt")
    copy = tmp_path / "prompt.jinja"
    copy.write_text("{{ text | json }}")
    with pytest.raises(ConfigError, match="There is no prompt") as caught:
        check_kept(RunFolder(tmp_path / "other", settings), "verify", "generate")
    assert caught.value.hint.endswith(f"--prompt {copy}")


def test_a_folder_without_a_student_is_not_asked_what_it_confuses(tmp_path):
    folder = tmp_path / "student"

    def check(until="generate", targets="confusion"):
        chosen = {"targets": targets, "confused_student": str(folder)}
        check_machine(RunFolder(tmp_path / "run", resolve([{"generator": chosen}])), until)

    with pytest.raises(ModelError, match="no student in") as caught:
        check()
    assert "RUN/student" in caught.value.hint
    check(until="teacher")
    check(targets="all")
    folder.mkdir()
    with pytest.raises(ModelError, match=r"has no config\.json"):
        check()
    for name in ("model.safetensors", "tokenizer.json"):
        folder.joinpath(name).touch()
    for kind, known in (("ForCausalLM", False), ("ForSequenceClassification", True)):
        folder.joinpath("config.json").write_text(json.dumps({"architectures": [f"Bert{kind}"]}))
        if known:
            check()
        else:
            with pytest.raises(ModelError, match="no student in"):
                check()


def model_in(folder, config="{}"):
    for name in ("model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        folder.joinpath(name).write_text("{}")
    folder.joinpath("config.json").write_text(config)


@pytest.mark.parametrize(
    "check",
    [
        lambda one: check_generator(one, locate.at_hand(one.generator.model)),
        lambda one: fetch_generator(one, Console(-1)),
    ],
)
def test_a_base_model_is_not_chatted_with(tmp_path, check):
    model_in(tmp_path)

    def asked(**generator):
        settings = {"model": str(tmp_path), **generator}
        check(resolve([{"generator": settings, "runtime": {"engine_python": sys.executable}}]))

    with pytest.raises(ConfigError, match="no chat template") as caught:
        asked()
    assert "--set generator.prompting=completion" in caught.value.hint
    asked(prompting="completion")
    asked(engine="transformers")
    tmp_path.joinpath("chat_template.jinja").write_text("{{ messages }}")
    asked()


def test_an_encoder_is_no_generator_and_is_refused_before_anything_is_set_aside(tmp_path):
    model_in(tmp_path, '{"architectures": ["BertModel"]}')
    generator = {"model": str(tmp_path), "prompting": "completion"}

    def check(**runtime):
        config = resolve([{"generator": generator, "runtime": {"device": "cpu", **runtime}}])
        check_machine(RunFolder(tmp_path / "run", config), "generate", "generate")

    with pytest.raises(ModelError, match="not a language model that generates text"):
        check()
    check(replay="theirs")
    check(server_url="http://127.0.0.1:9")


def test_a_student_of_another_family_is_refused_before_anything_is_set_aside(tmp_path):
    bodies = {name: tmp_path / name for name in ("bert", "deberta-v2")}
    for name, folder in bodies.items():
        folder.mkdir()
        model_in(folder, json.dumps({"model_type": name}))
    sections = {
        "teacher": {"model": str(bodies["bert"])},
        "distillation": {"student": str(bodies["deberta-v2"]), "student_init": "teacher"},
        "runtime": {"device": "cpu"},
    }
    run = RunFolder(tmp_path / "run", resolve([sections]))
    with pytest.raises(
        ModelError, match="deberta-v2 student can't be made of the layers of a bert"
    ):
        check_machine(run, "distill", "distill")
