"""The server's life against stub interpreters that stand for `python -m vllm…`."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from codlocal.core import machine
from codlocal.core.console import Console
from codlocal.core.errors import EngineError
from codlocal.generation.engines import guard, server
from codlocal.generation.engines.server import ServerSettings, running

QUIET = Console(-1)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(server, "_POLL_SECONDS", 0.03)


def stub(tmp_path, body):
    """An executable that stands for the engine's interpreter; `note` tells the test something."""
    path = tmp_path / "python-with-vllm"
    path.write_text(
        f"#!{sys.executable} -S\n"
        "import json, os, pathlib, signal, subprocess, sys, time\n"
        "def log(*words): print(*words, flush=True)\n"
        f"FOLDER = pathlib.Path({str(tmp_path)!r})\n"
        "def note(name, value): FOLDER.joinpath(name).write_text(json.dumps(value))\n"
        "def wait_for(name):\n"
        "    while not FOLDER.joinpath(name).exists(): time.sleep(.02)\n"
        f"{body}\n"
    )
    path.chmod(0o755)
    return path


HEALTHY = """
from http.server import BaseHTTPRequestHandler, HTTPServer
class Health(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", "0"); self.end_headers()
    def log_message(self, *_): pass
def serve():
    HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Health).serve_forever()
"""
STUBBORN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(sys.argv[1], "w").write(str(os.getpid()))
time.sleep(60)
"""
WITH_A_GRANDCHILD = f"""{HEALTHY}
command = [sys.executable, "-S", "-c", {STUBBORN!r}, str(FOLDER / "grandchild")]
subprocess.Popen(command)
note("child", os.getpid())
wait_for("grandchild")
"""


PLAIN = {
    "raw_prompts": False, "cpu": False, "gpu_share": None, "dtype": "auto", "max_model_len": 2048,
    "port": 0, "timeout": 20.0, "extra_arguments": (),
}  # fmt: skip


def settings(tmp_path, body, **more):
    folders = (stub(tmp_path, body), tmp_path / "model", tmp_path / "server.log")
    return ServerSettings(*folders, **{**PLAIN, **more})


def noted(tmp_path, name, seconds=10.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(FileNotFoundError, ValueError):
            return json.loads(tmp_path.joinpath(name).read_text())
        time.sleep(0.02)
    raise AssertionError(f"{name} was never noted")


def is_alive(pid):
    """Whether a process runs; one that nobody has collected yet is dead."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


def dies(pid, seconds=8.0):
    deadline = time.monotonic() + seconds
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not is_alive(pid)


def test_it_starts_waits_and_ends_with_all_its_processes(tmp_path):
    with running(settings(tmp_path, WITH_A_GRANDCHILD + "serve()"), QUIET) as started:
        assert httpx.get(f"{started.url}/health", trust_env=False).status_code == 200
        pids = [started.process.pid, noted(tmp_path, "child"), noted(tmp_path, "grandchild")]
        assert all(is_alive(pid) for pid in pids)
        assert {os.getpgid(pid) for pid in pids} == {started.process.pid}
        assert started.process.pid != os.getpgid(0)
        assert started.death() is None
        begun = time.monotonic()
    assert time.monotonic() - begun < 8, "it ends when it is asked to, and is not waited for"
    assert all(dies(pid) for pid in pids)


@pytest.mark.parametrize("error", [KeyboardInterrupt, asyncio.CancelledError])
def test_the_group_ends_on_an_interrupt_too_and_says_so(tmp_path, capsys, error):
    chosen = settings(tmp_path, WITH_A_GRANDCHILD + "serve()")
    with pytest.raises(error), running(chosen, Console()):
        raise error
    assert "Stopping the vLLM server" in capsys.readouterr().err
    assert dies(noted(tmp_path, "child"))
    assert dies(noted(tmp_path, "grandchild"))


def test_what_the_server_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    monkeypatch.setenv("VIRTUAL_ENV", "/else")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr(machine, "cores", lambda: 2)
    monkeypatch.delenv("VLLM_CPU_OMP_THREADS_BIND", raising=False)
    body = HEALTHY + "note('argv', sys.argv[1:]); note('env', dict(os.environ)); serve()"
    chosen = settings(
        tmp_path, body, raw_prompts=True, cpu=True, dtype="float32", max_model_len=512,
        extra_arguments=("--seed", "1"),
    )  # fmt: skip
    chosen.model.mkdir()
    with chosen.model.joinpath("model.safetensors").open("wb") as file:
        file.truncate(2_000_000_000)  # a large model, which takes no space
    with running(chosen, QUIET) as started:
        argv, env = noted(tmp_path, "argv"), noted(tmp_path, "env")
        assert env["VLLM_API_KEY"] == started.key
        assert len(started.key) >= 32
        assert started.key not in Path(f"/proc/{started.process.pid}/cmdline").read_text()
    assert not any(started.key in word for word in argv)
    assert started.key not in repr(started.process.args)
    assert argv[:2] == ["-m", "vllm.entrypoints.openai.api_server"]
    told = dict(zip(argv[2::2], argv[3::2], strict=False))
    assert told["--host"] == "127.0.0.1"
    assert told["--model"] == str(tmp_path / "model")
    assert {"--enforce-eager", "--no-enable-chunked-prefill"} <= set(argv)
    assert "bos_token" in argv[argv.index("--chat-template") + 1]
    assert argv[-2:] == ["--seed", "1"]
    assert env["HF_HUB_OFFLINE"] == env["TRANSFORMERS_OFFLINE"] == env["DO_NOT_TRACK"] == "1"
    assert env["VLLM_NO_USAGE_STATS"] == "1"
    assert (env["VLLM_CPU_KVCACHE_SPACE"], env["OMP_NUM_THREADS"]) == ("1", "2")
    assert "VIRTUAL_ENV" not in env
    assert told["--middleware"] == "require_key.RequireKey"
    assert [one.name for one in Path(env["PYTHONPATH"]).glob("[!_]*")] == ["require_key.py"]


def test_a_gpu_server_compiles_and_keeps_the_models_own_template(tmp_path):
    body = HEALTHY + "note('argv', sys.argv[1:]); note('env', dict(os.environ)); serve()"
    with running(settings(tmp_path, body, gpu_share=0.7), QUIET):
        argv, env = noted(tmp_path, "argv"), noted(tmp_path, "env")
        assert not {"--enforce-eager", "--chat-template"} & set(argv)
        assert argv[argv.index("--gpu-memory-utilization") + 1] == "0.7"
        assert "VLLM_CPU_KVCACHE_SPACE" not in env
        assert env["VLLM_USE_FLASHINFER_SAMPLER"] == "0"  # which would take a CUDA toolkit


def test_every_start_has_a_key_of_its_own(tmp_path):
    keys = []
    for _ in range(2):
        with running(settings(tmp_path, HEALTHY + "serve()"), QUIET) as started:
            keys.append(started.key)
    assert keys[0] != keys[1]


def test_waiting_says_why(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("codlocal.core.console._PLAIN_SECONDS", 0.0)
    body = HEALTHY + (
        "log('INFO non-default args: {}'); time.sleep(.3); log('INFO Starting to load model x')\n"
        "time.sleep(.3); serve()"
    )
    with running(settings(tmp_path, body), Console(1)):
        said = capsys.readouterr().err
    assert "state reading the settings" in said
    assert "state loading the weights" in said
    assert f"log: {tmp_path / 'server.log'}" in said


def test_a_server_that_dies_is_reported_at_once_with_cause_and_log(tmp_path):
    body = "log('INFO starting'); log('torch.OutOfMemoryError: CUDA out of memory.'); sys.exit(1)"
    begun = time.monotonic()
    with pytest.raises(EngineError) as caught, running(settings(tmp_path, body), QUIET):
        raise AssertionError("it never was healthy")
    assert time.monotonic() - begun < 15, "its timeout is 20 s"
    assert "GPU has too little free memory" in caught.value.message
    assert "| torch.OutOfMemoryError" in caught.value.message


def test_a_server_that_dies_later_leaves_no_grandchild(tmp_path):
    body = WITH_A_GRANDCHILD + (
        "import threading\n"
        "def die():\n"
        "    wait_for('now'); log('MemoryError'); os._exit(7)\n"
        "threading.Thread(target=die).start(); serve()"
    )
    with running(settings(tmp_path, body), QUIET) as started:
        assert started.death() is None
        tmp_path.joinpath("now").touch()
        assert dies(started.process.pid) or started.process.poll() is not None
        deadline = time.monotonic() + 5
        while started.death() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        assert "ran out of memory" in started.death().message
        assert started.process.returncode == 7
    assert dies(noted(tmp_path, "grandchild"))


def test_a_missing_interpreter_is_an_error_with_the_log(tmp_path):
    missing = ServerSettings(tmp_path / "none", tmp_path, tmp_path / "server.log", **PLAIN)
    with pytest.raises(EngineError, match="none"), running(missing, QUIET):
        raise AssertionError("it never was healthy")


def test_a_server_that_hangs_is_given_up_and_ended(tmp_path):
    body = "log('INFO Starting to load model x'); note('child', os.getpid()); time.sleep(60)"
    with (
        pytest.raises(EngineError, match="not ready after") as caught,
        running(settings(tmp_path, body, timeout=0.5), QUIET),
    ):
        raise AssertionError("it never was healthy")
    assert "Starting to load model" in caught.value.message
    assert "server_timeout" in caught.value.hint
    assert dies(noted(tmp_path, "child"))


def test_a_busy_port_is_refused_before_anything_starts(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(EngineError, match=f"Port {port} on 127.0.0.1 is in use") as caught,
            running(settings(tmp_path, HEALTHY, port=port), QUIET),
        ):
            raise AssertionError("it never was healthy")
    assert "--server-url" in caught.value.hint
    assert not tmp_path.joinpath("server.log").exists()


def test_a_chosen_port_is_used(tmp_path):
    port = server._free_port()
    with running(settings(tmp_path, HEALTHY + "serve()", port=port), QUIET) as started:
        assert started.url == f"http://127.0.0.1:{port}"


def test_a_guard_that_hangs_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "_STOP_SECONDS", 0.2)
    with running(settings(tmp_path, HEALTHY + "note('child', os.getpid()); serve()"), QUIET) as it:
        child = noted(tmp_path, "child")
        os.kill(it.process.pid, signal.SIGSTOP)
    assert it.process.returncode == -signal.SIGKILL
    assert dies(child)


PARENT = f"""
import sys, time
from pathlib import Path
from codlocal.core.console import Console
from codlocal.generation.engines import server
folder = Path(sys.argv[1])
python, log = folder / "python-with-vllm", folder / "server.log"
chosen = server.ServerSettings(python, folder, log, **{PLAIN!r})
with server.running(chosen, Console(-1)) as started:
    print(started.process.pid, flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_no_process_outlives_a_parent_that_was_killed(tmp_path, how):
    stub(tmp_path, WITH_A_GRANDCHILD + "serve()")
    command = [sys.executable, "-c", PARENT, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        group = int(parent.stdout.readline())
        child, grandchild = noted(tmp_path, "child"), noted(tmp_path, "grandchild")
        assert is_alive(group)
        assert is_alive(child)
        assert is_alive(grandchild)
        parent.send_signal(how)
        parent.wait()
    assert dies(child)
    assert dies(grandchild)
    assert dies(group)


@pytest.mark.parametrize(
    ("code", "status"),
    [("raise SystemExit(3)", 3), ("pass", 0), ("import os; os.kill(os.getpid(), 9)", 137)],
)
def test_the_guard_hands_on_how_its_command_ended(code, status):
    command = [sys.executable, guard.__file__, sys.executable, "-S", "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as process:
        assert process.wait(timeout=10) == status
