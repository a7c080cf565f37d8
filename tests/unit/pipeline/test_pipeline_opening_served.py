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
