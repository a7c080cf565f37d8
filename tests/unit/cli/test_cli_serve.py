"""`codlocal serve` as a process of its own, with a stub for the interpreter that has vLLM."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest

from codlocal.cli import serve
from codlocal.core.console import Console
from codlocal.core.errors import EngineError

TESTS = Path(__file__).parents[2]


def stub(tmp_path, mood=""):
    path = tmp_path / "python-with-vllm"
    path.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(TESTS)!r})\n"
        f"from fake_server import serve_like_vllm\nserve_like_vllm(sys.argv{mood})\n"
    )
    path.chmod(0o755)
    return path


def command(tmp_path, mood=""):
    model = tmp_path / "model"
    model.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        model.joinpath(name).write_text("{}")
    return [
        sys.executable, "-m", "codlocal", "serve", "--profile", "embedded", "--json",
        "--generator", str(model), "--engine-python", str(stub(tmp_path, mood)),
        "--run", str(tmp_path / "run"),
    ]  # fmt: skip


def start(arguments):
    pipe = subprocess.PIPE
    return subprocess.Popen(arguments, stdout=pipe, stderr=pipe, text=True)


@pytest.mark.integration
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_asked_to_stop(tmp_path, number):
    with start(command(tmp_path)) as process:
        facts = json.loads(process.stdout.readline())
        url = facts["url"] + "/v1/models"
        assert httpx.get(url, trust_env=False).status_code == 401
        headers = {"Authorization": f"Bearer {facts['key']}"}
        assert httpx.get(url, headers=headers, trust_env=False).status_code == 200
        process.send_signal(number)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "Stopping the server." in err
    assert "Traceback" not in err
    with pytest.raises(httpx.TransportError):
        httpx.get(url, trust_env=False)


@pytest.mark.integration
def test_a_server_that_ignores_constraints_is_refused_and_stopped(tmp_path):
    with start(command(tmp_path, ", obeys=False")) as process:
        out, err = process.communicate(timeout=30)
    assert process.returncode == 3
    assert "ignores constraints" in err
    assert json.loads(out)["exit_code"] == 3


def test_a_mistyped_run_is_not_served_the_default_generator(call, tmp_path):
    code, _, err = call("serve", "--run", str(tmp_path / "rnu"))
    assert code == 1
    assert "There is no run in" in err
    assert not tmp_path.joinpath("rnu").exists()


class Living:
    def __init__(self, *deaths):
        self.deaths = list(deaths)

    def death(self):
        return self.deaths.pop(0) if self.deaths else None


@pytest.fixture
def handlers():
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
def test_waiting_ends_when_asked_or_when_the_server_dies(capsys, monkeypatch):
    waits = []
    monkeypatch.setattr(
        threading.Event, "wait", lambda event, _seconds: waits.append(1) or event.is_set()
    )
    with pytest.raises(EngineError, match="it died"):
        serve._wait(Living(None, None, EngineError("it died")), Console())
    assert len(waits) == 3

    class Asked(Living):
        def death(self):
            os.kill(os.getpid(), signal.SIGTERM)

    serve._wait(Asked(), Console())
    assert "Stopping the server." in capsys.readouterr().err
