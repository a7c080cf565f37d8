"""What every command has in common, seen from outside: pipes, encodings, codes and signals."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

IN_A_PROCESS = [sys.executable, "-m", "codlocal"]


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_reader_that_left_is_no_error():
    command = f"{sys.executable} -m codlocal doctor --json | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert "Traceback" not in done.stderr


def test_a_reader_that_left_is_spared_an_error_in_json():
    command = (
        f"{sys.executable} -m codlocal measures --run r --json | true; exit ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "Error: There is no run in r.\nHint: Check the path.\n"


@pytest.mark.parametrize("as_json", [False, True])
def test_what_the_terminal_has_no_character_for_is_spelled(as_json):
    Path("caf\u00e9\u2014\U0001f642.csv").write_text(
        "text,label\n" + "".join(f"text {n},{n % 2}\n" for n in range(20)), "utf-8"
    )
    arguments = ["data", "--data", "caf\u00e9\u2014\U0001f642.csv", "--profile", "embedded"]
    done = subprocess.run(
        [*IN_A_PROCESS, *arguments, "-k", "4", *(["--json"] if as_json else [])],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
    )
    assert done.returncode == 0
    out = done.stdout.decode("latin-1")
    if as_json:
        assert json.loads(out)["stages"]["data"]["name"] == "caf\u00e9\u2014\U0001f642"
    else:
        assert "name caf\u00e9\\u2014\\U0001f642" in out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["data", "--dataset", "yepl", "--run", "r"], 1, "Did you mean yelp"),
        (["pipeline", "--run", "r", "--profile", "default"], 3, "--profile embedded"),
        (["pipeline", "--profile", "nonsense"], 1, "Profiles: default, embedded, paper-qwen"),
        (["nonsense"], 2, "No such command"),
    ],
)
def test_the_real_process_exits_with_the_documented_code(arguments, code, message):
    environment = {**os.environ, "PATH": "/nowhere", "CUDA_VISIBLE_DEVICES": ""}
    if "default" in arguments and Path("/proc/driver/nvidia/version").exists():
        pytest.skip("this machine has a GPU")
    done = subprocess.run(
        [*IN_A_PROCESS, *arguments], capture_output=True, text=True, env=environment
    )
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr


WAITING = """
import signal, sys, time
import click
import codlocal.cli

@click.command()
def doctor():
    print("ready", flush=True)
    time.sleep(30)

codlocal.cli.cli.get_command = lambda _context, _name: doctor
sys.argv = ["codlocal", "doctor"]
signal.signal(signal.SIGHUP, getattr(signal, HANGUP))
codlocal.cli.main()
"""


def waiting(hangup="SIG_DFL"):
    """A command that waits, started from a terminal or, with "SIG_IGN", under nohup."""
    return WAITING.replace("HANGUP", repr(hangup))


def test_a_background_job_ends_on_sigterm_though_it_ignores_sigint():
    command = ["bash", "-c", f"trap '' INT; exec {sys.executable} -c \"$0\"", waiting()]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "Traceback" not in err


def test_under_nohup_a_closed_terminal_ends_nothing():
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", waiting("SIG_IGN")]
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=0.5)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 130


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_process_with_130_and_without_a_traceback(number):
    command = [sys.executable, "-c", waiting()]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        _, err = process.communicate(timeout=10)
    assert process.returncode == 130
    assert err.strip() == "Error: Interrupted.\nHint: Run the same command again to go on."
