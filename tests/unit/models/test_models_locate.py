import json
from pathlib import Path

import pytest
from tiny import tiny_model

from codlocal.core.console import Console
from codlocal.core.errors import ConfigError, ModelError
from codlocal.models import hub, locate, packages
from codlocal.models.classifier import Classifier


def _folder(path: Path, *names: str) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for name in names:
        path.joinpath(name).write_text("{}")
    return path


def _resolve(name: object, *, offline: bool = True) -> Path:
    return locate.resolve(str(name), console=Console(-1), offline=offline)


def test_a_whole_folder_is_taken_as_it_is(tmp_path: Path):
    folder = _folder(tmp_path / "m", "config.json", "model.safetensors", "tokenizer.json")
    assert _resolve(folder) == folder


def test_a_relative_folder_with_a_name_like_a_hub_id_is_local(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _folder(tmp_path / "org/m", "config.json", "model.safetensors", "spm.model")
    assert _resolve("org/m") == Path("org/m")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "has no config.json"),
        (("config.json",), r"has no weights \(\*\.safetensors\)"),
        (("config.json", "model.safetensors"), "has no tokenizer"),
    ],
)
def test_what_a_folder_lacks_is_named(tmp_path: Path, names: tuple[str, ...], message: str):
    with pytest.raises(ModelError, match=message):
        _resolve(_folder(tmp_path / "m", *names))


def test_pickled_weights_are_refused_with_a_way_out(tmp_path: Path):
    folder = _folder(tmp_path / "m", "config.json", "pytorch_model.bin", "tokenizer.json")
    with pytest.raises(ModelError, match="no weights") as caught:
        _resolve(folder)
    assert "save_pretrained" in caught.value.hint


def test_a_missing_shard_is_named(tmp_path: Path):
    folder = _folder(tmp_path / "m", "config.json", "a.safetensors", "tokenizer.json")
    index = {"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}
    folder.joinpath("model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match=r"lacks a part of its weights: b.safetensors"):
        _resolve(folder)


@pytest.mark.parametrize("name", ["./nope", "/nope/nope", "~/nope-nope", "a/b/c"])
def test_a_path_that_is_not_there_is_never_asked_of_the_hub(name: str, monkeypatch):
    monkeypatch.setattr(hub, "fetch", lambda *_, **__: pytest.fail("the hub was asked"))
    with pytest.raises(ModelError, match="no model folder") as caught:
        _resolve(name)
    assert "minilm-l6" in caught.value.hint


def test_a_home_folder_that_nobody_has_is_named():
    for find in (_resolve, locate.at_hand, locate.anchored):
        with pytest.raises(ConfigError, match="home folder in ~nobody-here/m is not known"):
            find("~nobody-here/m")


def test_a_file_is_no_model_folder(tmp_path: Path):
    file = tmp_path / "model.gguf"
    file.touch()
    with pytest.raises(ModelError, match="is a file"):
        _resolve(file)


def test_packaged_names_and_hub_ids_go_their_ways(tmp_path: Path, monkeypatch):
    asked = []
    monkeypatch.setattr(packages, "ensure", lambda *args: asked.append(args[0]) or tmp_path)
    monkeypatch.setattr(hub, "fetch", lambda name, **_: asked.append(name) or tmp_path)
    assert _resolve("minilm-l6") == _resolve("org/model") == tmp_path
    assert asked == ["minilm-l6", "org/model"]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("qwen2.5-coder-1.5B", "Did you mean the packaged 'qwen2.5-coder-1.5b'? Check the name."),
        ("gemma3-270m", "Did you mean the packaged 'gemma-3-270m'? Check the name."),
        ("Qwen/Qwen2.5-7B-Instruct", "Check the name."),
    ],
)
def test_a_slip_in_a_packaged_name_is_pointed_out(monkeypatch, name: str, hint: str):
    def fetch(*_args: object, **_options: object) -> Path:
        raise ModelError("There is none.", "Check the name.")

    monkeypatch.setattr(hub, "fetch", fetch)
    with pytest.raises(ModelError, match=r"There is none\.") as caught:
        locate.resolve(name, console=Console(-1), offline=False)
    assert caught.value.hint == hint


@pytest.mark.parametrize(
    ("architectures", "expected"),
    [(["BertForSequenceClassification"], True), (["BertModel"], False), (None, False)],
)
def test_a_head_is_told_by_the_architecture(tmp_path: Path, architectures, expected):
    tmp_path.joinpath("config.json").write_text(json.dumps({"architectures": architectures}))
    assert locate.has_head(tmp_path) is expected


@pytest.mark.parametrize(
    ("architectures", "expected"),
    [
        (["Gemma3ForConditionalGeneration"], True),
        (["LlamaForCausalLM"], True),
        (["GPT2LMHeadModel"], True),
        (["BertModel"], False),
        (["BertForMaskedLM"], False),
        (["LlamaForSequenceClassification"], False),
        (None, True),
    ],
)
def test_a_generator_is_told_by_the_architecture(tmp_path: Path, architectures, expected):
    tmp_path.joinpath("config.json").write_text(json.dumps({"architectures": architectures}))
    assert locate.generates(tmp_path) is expected


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_damaged_configuration_is_a_model_error(tmp_path: Path, text: str):
    tmp_path.joinpath("config.json").write_text(text)
    with pytest.raises(ModelError, match="JSON"):
        locate.has_head(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "has"),
    [
        ("chat_template.jinja", "{{ messages }}", True),
        ("chat_template.json", '{"chat_template": "{{ messages }}"}', True),
        ("tokenizer_config.json", '{"chat_template": "{{ messages }}"}', True),
        ("tokenizer_config.json", "{}", False),
        ("config.json", "{}", False),
    ],
)
def test_a_chat_template_is_found_wherever_models_keep_it(tmp_path: Path, name, content, has):
    tmp_path.joinpath(name).write_text(content)
    assert bool(locate.chat_template(tmp_path)) == has


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", '{"architectures": [1]}'),
        ("config.json", '{"hidden_size": "x", "model_type": "bert"}'),
        ("config.json", '{"num_attention_heads": 0, "model_type": "bert"}'),
        ("config.json", '{"model_type": ["bert"]}'),
        ("config.json", '{"id2label": 3, "model_type": "bert"}'),
        ("config.json", "[" * 99_999),
        ("model.safetensors.index.json", '{"weight_map": ["x"]}'),
        ("model.safetensors.index.json", '{"weight_map": {"x": 1}}'),
        ("tokenizer.json", '{"model": []}'),
        ("tokenizer_config.json", '{"model_max_length": -1}'),
    ],
)
def test_a_strange_file_in_a_folder_is_told_as_such(tmp_path: Path, name: str, content: str):
    folder = tiny_model(tmp_path / "m", labels=("no", "yes"))
    given = json.loads(folder.joinpath("config.json").read_text())
    if name == "config.json" and content.startswith("{"):
        content = json.dumps({**given, **json.loads(content)})
    folder.joinpath(name).write_text(content)
    try:
        found = locate.resolve(str(folder), console=Console(-1), offline=True)
        locate.has_head(found)
        Classifier.load(found, device="cpu", label_names=("no", "yes")).logits(["a good one"])
    except ModelError as error:
        assert str(folder) in error.message
