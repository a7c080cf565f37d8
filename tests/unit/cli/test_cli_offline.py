"""Commands that must not leave this machine, watched by a network that ends at it."""

import subprocess
import sys

import pytest
from offline import environment, escapes


def run(tmp_path, *arguments):
    env = environment(tmp_path)
    env.pop("HF_HUB_OFFLINE", None)
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=env, cwd=tmp_path)


@pytest.mark.parametrize(
    "code",
    [
        "import socket; socket.create_connection(('192.0.2.1', 80), timeout=1)",
        "import socket; socket.gethostbyname('example.com')",
        "import httpx; httpx.get('http://example.com')",
        "import urllib.request; urllib.request.urlopen('http://192.0.2.1/')",
        "import socket; s = socket.socket(); s.connect_ex(('192.0.2.1', 80))",
    ],
)
def test_the_watch_sees_an_escape(tmp_path, code):
    assert run(tmp_path, "-c", code).returncode != 0
    assert escapes(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["data", "--dataset", "yelp", "--profile", "embedded", "--offline"], 0),
        (["data", "--dataset", "yelp", "--profile", "embedded"], 0),
        (["data", "--dataset", "sst2", "--profile", "default", "--offline"], 1),
        (["data", "--data", "mine.csv", "-k", "8", "--offline"], 0),
        (["pipeline", "--profile", "default"], 3),
        (["doctor"], 3),
        (["engine", "install", "--cpu", "--dry-run"], 0),
    ],
)
def test_nothing_leaves_this_machine(tmp_path, arguments, code):
    watch(tmp_path, arguments, code)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["pipeline", "--profile", "embedded", "--offline"], 3),
        (["pipeline", "--profile", "embedded", "--engine", "transformers", "--offline"], 1),
        (["generate", "--profile", "embedded", "--offline", "--server-url", "http://gpu"], 1),
    ],
)
def test_nothing_leaves_this_machine_on_the_way_to_the_models(tmp_path, arguments, code):
    watch(tmp_path, arguments, code)


def watch(tmp_path, arguments, code):
    rows = "".join(f"text {at},{'yes' if at % 2 else 'no'}\n" for at in range(30))
    tmp_path.joinpath("mine.csv").write_text("text,label\n" + rows)
    done = run(tmp_path, "-m", "codlocal", *arguments)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert escapes(tmp_path) == []
