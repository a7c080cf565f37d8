import json
import sys
from pathlib import Path

import pytest
from fake_server import openai_server

from codlocal.core import paths
from codlocal.core.config import Config, resolve
from codlocal.core.errors import ConfigError, EngineError, ModelError
from codlocal.pipeline import engines
from codlocal.pipeline.engines import Served
from codlocal.pipeline.preflight import check_engine


@pytest.fixture(autouse=True)
def neither_key_nor_vllm(monkeypatch):
    monkeypatch.delenv(engines.KEY_VARIABLE, raising=False)
    monkeypatch.setattr(engines.importlib.util, "find_spec", lambda _name: None)


def interpreter(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    return path


def test_the_engine_is_the_chosen_one_then_its_own_then_ours(tmp_path, monkeypatch):
    with pytest.raises(EngineError, match="vLLM is not installed") as caught:
        engines.find_engine(None)
    assert caught.value.exit_code == 3
    for way in ("engine install", "--engine-python", "--engine transformers"):
        assert way in caught.value.hint
    monkeypatch.setattr(engines.importlib.util, "find_spec", lambda _name: object())
    assert engines.find_engine(None) == Path(sys.executable)
    own = interpreter(paths.engine_python())
    assert engines.find_engine(None) == own
    chosen = interpreter(tmp_path / "other" / "python")
    assert engines.find_engine(str(chosen)) == chosen


def test_a_chosen_interpreter_must_be_there(tmp_path):
    with pytest.raises(EngineError, match="no interpreter"):
        engines.find_engine(str(tmp_path / "python"))
    with pytest.raises(EngineError, match="no interpreter"):
        engines.find_engine(str(tmp_path))


def test_an_environment_that_is_half_installed_is_no_engine():
    python = interpreter(paths.engine_python())
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    with pytest.raises(EngineError, match="has no vLLM") as caught:
        check_engine(resolve([]))
    assert "engine install" in caught.value.hint


def test_a_clone_of_vllm_in_the_users_folder_is_no_engine(tmp_path, monkeypatch):
    tmp_path.joinpath("vllm").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    python = interpreter(tmp_path / "python")
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')  # without any package
    python.chmod(0o755)
    with pytest.raises(EngineError, match="has no vLLM"):
        check_engine(resolve([{"runtime": {"engine_python": str(python)}}]))


@pytest.mark.parametrize(
    ("script", "message"),
    [("#!/bin/sh\nexit 1\n", "has no vLLM"), ("#!/nowhere\n", "can't be asked")],
)
def test_a_chosen_interpreter_must_have_vllm(tmp_path, script, message):
    python = interpreter(tmp_path / "python")
    chosen = resolve([{"runtime": {"engine_python": str(python)}}])
    python.chmod(0o755)
    check_engine(chosen)
    python.write_text(script)
    with pytest.raises(EngineError, match=message) as caught:
        check_engine(chosen)
    assert "engine install" in caught.value.hint


def test_attaching_uses_the_servers_first_model_and_the_key(monkeypatch):
    monkeypatch.setenv(engines.KEY_VARIABLE, "secret")
    with openai_server() as server:
        for url in (server.url, server.url + "/", server.url + "/v1", server.url + "/v1/"):
            assert engines.check_server(url, offline=True) == Served("fake-model")
            assert engines.root_of(url) == server.url
        assert set(server.paths) == {"/v1/models"}


@pytest.mark.parametrize(
    ("root", "model", "identity"),
    [
        (None, "generator", "served as generator"),
        ("generator", "generator", "served as generator"),
        ("/models/gemma", "/models/gemma", "served as generator from /models/gemma"),
    ],
)
def test_a_model_is_what_the_server_says_of_it(monkeypatch, root, model, identity):
    monkeypatch.setenv(engines.KEY_VARIABLE, "secret")
    with openai_server(model="generator", root=root) as server:
        served = engines.check_server(server.url, offline=True)
    assert (served.name, served.model, served.identity) == ("generator", model, identity)
    assert engines.is_served(served.identity)
    assert not engines.is_served("0a1b2c")


@pytest.mark.parametrize("body", [b"[]", b'{"data": []}', b'{"data": ["x"]}', b'{"data": [{}]}'])
def test_a_server_that_names_no_model_is_none_of_ours(monkeypatch, body):
    monkeypatch.setenv(engines.KEY_VARIABLE, "secret")
    with (
        openai_server(raw=("application/json", body)) as server,
        pytest.raises(EngineError, match="no OpenAI-compatible server"),
    ):
        engines.check_server(server.url, offline=False)


def test_a_local_server_is_found_behind_a_proxy(monkeypatch):
    monkeypatch.setenv(engines.KEY_VARIABLE, "secret")
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with openai_server() as server:
        engines.check_server(server.url, offline=False)


@pytest.mark.parametrize(
    "url", ["", "localhost:8000", "ftp://x", "http://", "http://[::1", "http://a:b:c", "file:///x"]
)
def test_a_bad_address_is_a_configuration_error(url):
    with pytest.raises(ConfigError, match="not a server address"):
        engines.check_server(url, offline=False)


@pytest.mark.parametrize("url", ["http://example.com", "http://10.1.2.3:8000/v1", "https://gpu"])
def test_an_offline_run_stays_on_this_machine(url):
    with pytest.raises(ConfigError, match="offline run can't use"):
        engines.check_server(url, offline=True)


def test_a_refused_key_is_named():
    with openai_server() as server, pytest.raises(EngineError, match="refuses the key") as caught:
        engines.check_server(server.url, offline=False)
    assert engines.KEY_VARIABLE in caught.value.hint


@pytest.mark.parametrize("key", ["secret\n", " secret\r\n"])
def test_a_key_is_taken_without_the_white_space_around_it(monkeypatch, key):
    monkeypatch.setenv(engines.KEY_VARIABLE, key)
    with openai_server() as server:
        engines.check_server(server.url, offline=False)
    monkeypatch.setenv(engines.KEY_VARIABLE, " ")
    assert engines.server_key() == "none"


@pytest.mark.parametrize("key", ["sec\nret", "sec\rret", "sécret", "sec\x7fret"])
def test_a_key_that_can_not_be_sent_is_named_and_not_shown(monkeypatch, key):
    monkeypatch.setenv(engines.KEY_VARIABLE, key)
    with pytest.raises(ConfigError, match=engines.KEY_VARIABLE) as caught:
        engines.check_server("http://127.0.0.1:9", offline=False)
    assert "ret" not in str(caught.value)
    assert "ret" not in caught.value.hint
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("status", [500, 503])
def test_a_server_that_fails_is_there_all_the_same(monkeypatch, status):
    with openai_server() as server:
        monkeypatch.setenv(engines.KEY_VARIABLE, server.key)
        server.status = status
        with pytest.raises(EngineError, match=f"answers HTTP {status}"):
            engines.check_server(server.url, offline=False)


def test_nobody_there_or_somebody_else_is_named(monkeypatch):
    with openai_server() as server:
        monkeypatch.setenv(engines.KEY_VARIABLE, server.key)
        server.status = 404
        with pytest.raises(EngineError, match="no OpenAI-compatible server"):
            engines.check_server(server.url, offline=False)
        url = server.url
    with pytest.raises(EngineError, match="no OpenAI-compatible server"):
        engines.check_server(url, offline=False)


@pytest.mark.parametrize(
    ("settings", "token"),
    [
        ({"bos_token": "<bos>"}, "<bos>"),
        ({"bos_token": {"content": "<s>", "special": True}}, "<s>"),
        ({"bos_token": None}, ""),
        ({}, ""),
        (None, ""),
    ],
)
def test_the_token_that_begins_a_sequence(tmp_path, settings, token):
    if settings is not None:
        tmp_path.joinpath("tokenizer_config.json").write_text(json.dumps(settings))
    assert engines.beginning_of_sequence(tmp_path) == token


@pytest.mark.parametrize(("number", "token"), [(7, "<|end|>"), (8, ""), (None, "")])
def test_the_model_names_the_token_that_its_tokenizer_does_not(tmp_path, number, token):
    files = {
        "tokenizer_config.json": {"bos_token": None},
        "tokenizer.json": {
            "added_tokens": [{"id": 6, "content": "a"}, {"id": 7, "content": "<|end|>"}]
        },
        "config.json": {"bos_token_id": number},
    }
    for name, content in files.items():
        tmp_path.joinpath(name).write_text(json.dumps(content))
    assert engines.beginning_of_sequence(tmp_path) == token


@pytest.mark.parametrize(
    "name", ["chat_template.jinja", "chat_template.json", "tokenizer_config.json"]
)
def test_a_model_that_thinks_is_known_by_its_template(tmp_path, name):
    assert not engines.thinks(tmp_path)
    template = "{% if enable_thinking is false %}<think></think>{% endif %}"
    told = template if name.endswith("jinja") else json.dumps({"chat_template": template})
    tmp_path.joinpath(name).write_text(told)
    assert engines.thinks(tmp_path)


def test_a_damaged_tokenizer_is_named(tmp_path):
    tmp_path.joinpath("tokenizer_config.json").write_text("{")
    with pytest.raises(ModelError, match="tokenizer_config"):
        engines.beginning_of_sequence(tmp_path)


def config(tmp_path, **runtime):
    python = interpreter(tmp_path / "vllm" / "python")
    return resolve(
        [
            {"generator": {"prompting": "completion", "model": "some/model"}},
            {"runtime": {"engine_python": str(python), "device": "cpu", **runtime}},
        ]
    )


def test_the_server_gets_the_settings_of_the_run(tmp_path):
    chosen = config(tmp_path, max_model_len=77, port=1234, server_timeout=5.0, dtype="float32")
    found = engines.server_settings(chosen, tmp_path / "model", tmp_path / "log")
    assert found.python == tmp_path / "vllm" / "python"
    assert (found.model, found.log) == (tmp_path / "model", tmp_path / "log")
    assert (found.max_model_len, found.port, found.timeout) == (77, 1234, 5.0)
    assert (found.raw_prompts, found.cpu, found.dtype) == (True, True, "float32")
    assert found.gpu_share is None


def test_a_server_on_a_gpu_takes_what_is_free_and_further_arguments(tmp_path, monkeypatch):
    monkeypatch.setattr(engines, "has_gpu", lambda: True)
    monkeypatch.setattr("codlocal.models.devices.free_share", lambda: 0.7)
    arguments = ("--tensor-parallel-size", "2")
    chosen = config(tmp_path, device="cuda", server_arguments=arguments)
    found = engines.server_settings(chosen, tmp_path / "model", tmp_path / "log")
    assert (found.cpu, found.gpu_share, found.extra_arguments) == (False, 0.7, arguments)


@pytest.mark.parametrize(
    ("kind", "device", "cpu", "share"),
    [("gpu", "cpu", False, 0.7), ("cpu", "cuda", True, None), (None, "cuda", False, 0.7)],
)
def test_an_engine_computes_where_it_was_built_for(tmp_path, monkeypatch, kind, device, cpu, share):
    monkeypatch.setattr(engines, "has_gpu", lambda: True)
    monkeypatch.setattr("codlocal.models.devices.free_share", lambda: 0.7)
    monkeypatch.setattr(engines.engine, "marker", lambda: kind and {"kind": kind, "vllm": "0"})
    interpreter(paths.engine_python())
    chosen = config(tmp_path, device=device, engine_python=None)
    found = engines.server_settings(chosen, tmp_path / "model", tmp_path / "log")
    assert (found.python, found.cpu, found.gpu_share) == (paths.engine_python(), cpu, share)
    other = config(tmp_path, device="cpu")
    assert engines.server_settings(other, tmp_path / "model", tmp_path / "log").cpu


def test_a_gpu_is_only_looked_for_where_there_is_a_driver(monkeypatch):
    monkeypatch.setattr(engines.machine.shutil, "which", lambda _name: None)
    monkeypatch.setattr(engines.machine, "_DRIVER", Path("/nowhere"))
    assert not engines.has_gpu()


def test_the_profiles_default_needs_no_server_to_be_a_configuration():
    assert Config().runtime.server_url is None
