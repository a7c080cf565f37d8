"""Whether a server's model is the one that the settings name."""

import pytest
from fake_server import openai_server

from codlocal.core.config import resolve
from codlocal.core.console import Console
from codlocal.core.run import RunFolder
from codlocal.pipeline import engines, opening


@pytest.mark.parametrize(("root", "said"), [("/models/smollm2", True), ("/models/gemma", False)])
def test_another_model_than_the_settings_say_is_told(tmp_path, monkeypatch, capsys, root, said):
    monkeypatch.setenv(engines.KEY_VARIABLE, "secret")
    with openai_server(root=root) as server:
        given = {"generator": {"model": "gemma"}, "runtime": {"server_url": server.url}}
        opening._source(RunFolder(tmp_path, resolve([given])), Console())
    warning = "serves /models/smollm2, and the run's settings and replies will say gemma."
    assert (warning in capsys.readouterr().err) == said


@pytest.mark.parametrize(
    ("model", "root", "is_other"),
    [
        ("gemma-3-270m", "/home/me/models/gemma-3-270m", False),
        ("/elsewhere/Gemma-3-270m", "/home/me/models/gemma-3-270m/", False),
        ("Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen2.5-7B-Instruct", False),
        ("Qwen/Qwen2.5-7B", "/hub/models--Qwen--Qwen2.5-7B/snapshots/0a1b", False),
        ("Qwen/Qwen2.5-7B", "/hub/models--Qwen--Qwen2.5-7B-Instruct/snapshots/0a1b", True),
        ("smollm2-135m", "/home/me/models/gemma-3-270m", True),
        ("smollm2-135m", "generator", False),
    ],
)
def test_a_server_tells_of_another_model_by_its_place(model, root, is_other):
    assert engines.Served("generator", root).is_other_than(model) == is_other


def test_a_server_that_tells_no_place_tells_of_no_other_model():
    assert not engines.Served("generator").is_other_than("gemma")
