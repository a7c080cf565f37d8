"""What every command has in common: help, exit codes, errors and interrupts."""

import errno
import io
import json
import shutil
import signal
import sqlite3
import sys
import warnings

import click
import pytest
import torch
from safetensors import SafetensorError

import codlocal.cli
from codlocal.cli import cli, main
from codlocal.core import processes
from codlocal.core.errors import (
    ConfigError,
    DataError,
    DeviceError,
    EngineError,
    ModelError,
    QualityError,
    RunError,
)


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def failing(monkeypatch):
    """Make the doctor raise an error."""

    def install(error):
        @click.command()
        @click.option("--json", is_flag=True)
        def doctor(**_given):
            raise error

        monkeypatch.setattr(cli, "get_command", lambda _context, _name: doctor)

    return install


def test_the_version(call):
    code, out, _ = call("--version")
    assert code == 0
    assert codlocal.__version__ in out


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["pipeline", "--nonsense"],
        ["data", "-k", "many"],
        ["data", "--redo", "everything"],
        ["generate", "--engine", "x"],
        ["engine", "install", "extra"],
    ],
)
def test_a_wrong_use_exits_with_2(call, arguments):
    code, out, err = call(*arguments)
    assert code == 2
    assert "Error: " in err
    assert "Traceback" not in out + err
    assert out == ""


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["doctor", "extra"], "Got unexpected extra argument (extra)"),
        (["data", "-k", "many"], "Invalid value for '-k' / '--k': 'many' is not a valid integer."),
        (["measures"], "Missing option '--run'."),
    ],
)
def test_a_wrong_use_is_told_in_json_too(call, arguments, error):
    code, out, err = call(*arguments, "--json")
    assert code == 2
    assert json.loads(out) == {"error": error, "hint": "", "exit_code": 2}
    assert f"Error: {error}" in err


@pytest.mark.parametrize("command", ["ablate", "compare-generators", "theory"])
def test_what_one_process_does_is_refused_to_several(call, monkeypatch, command):
    monkeypatch.setattr(processes, "_launch", processes._Launch(1, 2, "tcp://nowhere"))
    code, _, err = call(command, "x")
    assert code == 2
    assert f"`codlocal {command}` is the work of one process" in err


@pytest.mark.parametrize(
    ("kind", "code"),
    [(ConfigError, 1), (DataError, 1), (ModelError, 1), (RunError, 1), (EngineError, 3),
     (DeviceError, 3), (QualityError, 4)],
)  # fmt: skip
@pytest.mark.parametrize("as_json", [False, True])
def test_a_foreseeable_error_is_a_message_a_hint_and_a_code(call, failing, kind, code, as_json):
    failing(kind("It [went] wrong.", "Do [/better] next time."))
    status, out, err = call("doctor", *(["--json"] if as_json else []))
    assert status == code
    assert err == "Error: It [went] wrong.\nHint: Do [/better] next time.\n"
    if as_json:
        assert json.loads(out) == {
            "error": "It [went] wrong.", "hint": "Do [/better] next time.", "exit_code": code,
        }  # fmt: skip
    else:
        assert out == ""


def test_an_error_without_a_hint_has_none(call, failing):
    failing(DataError("Nothing there."))
    assert call("doctor") == (1, "", "Error: Nothing there.\n")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/run/rows.jsonl"), "/run/rows.jsonl"),
        (SafetensorError("I/O error: No space left on device (os error 28)"), "I/O error: No sp"),
        (Exception("No space left on device (os error 28)"), "No space left"),  # of tokenizers
        (sqlite3.OperationalError("database or disk is full"), "database or disk is full"),
        (
            shutil.Error([("a", "b", "[Errno 28] No space left on device: 'b'")] * 2),
            "[Errno 28] No space left on device: 'b'.",
        ),
        (shutil.Error([("a", "b", "[Errno 122] Disk quota exceeded: 'b'")]), "[Errno 122] Disk"),
    ],
)
def test_a_full_disk_is_named_whoever_finds_it(call, failing, error, said):
    failing(error)
    code, _, err = call("doctor")
    assert code == 1
    assert f"Error: The disk is full: {said}" in err
    assert "complete rows are kept" in err


@pytest.mark.parametrize(
    ("error", "whose"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), "The device"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"), "This machine"),
    ],
)
def test_too_little_memory_is_an_error_with_a_hint(call, failing, error, whose):
    failing(error)
    code, _, err = call("doctor")
    assert code == 1
    assert f"Error: {whose} has too little memory: {error}" in err
    assert "batch_size" in err


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            PermissionError(errno.EACCES, "Permission denied", "/etc/x"),
            "Permission denied: /etc/x.\nHint: Check the permissions of the file and of its "
            "folder, or choose another place.",
        ),
        (
            IsADirectoryError(errno.EISDIR, "Is a directory", "run/pairs.jsonl"),
            "Is a directory: run/pairs.jsonl.\nHint: A file is to be there: move the folder away, "
            "or choose another place.",
        ),
        (
            OSError(errno.EFBIG, "File too large"),
            "File too large.\nHint: Raise the limit on the size of files (ulimit -f), or choose "
            "another disk.",
        ),
        (
            SafetensorError("Error while serializing: I/O error: File too large (os error 27)"),
            "File too large.\nHint: Raise the limit on the size of files (ulimit -f), or choose "
            "another disk.",
        ),
        (SafetensorError("I/O error (os error 2)"), "No such file or directory."),
        (OSError("odd"), "odd."),
        (shutil.Error("odd"), "odd."),
        (
            shutil.Error([("a", "b", "[Errno 13] Permission denied: 'b'")]),
            "[Errno 13] Permission denied: 'b'.",
        ),
    ],
)
def test_other_errors_of_the_system_are_told_in_a_line(call, failing, error, said):
    failing(error)
    assert call("doctor") == (1, "", f"Error: {said}\n")


class FullDisk(io.StringIO):
    def flush(self):
        raise OSError(errno.ENOSPC, "No space left on device")

    close = flush


def test_a_closed_standard_output_is_no_traceback(call, failing, monkeypatch):
    failing(DataError("Odd.", ""))
    monkeypatch.setattr(sys, "stdout", None)
    assert call("doctor", "--json") == (1, "", "Error: Odd.\n")


def test_a_full_disk_is_told_of_where_json_was_to_be_written_to_it(call, failing, monkeypatch):
    failing(OSError(errno.ENOSPC, "No space left on device"))
    monkeypatch.setattr(sys, "stdout", FullDisk())
    code, _, err = call("doctor", "--json")
    assert code == 1
    assert err.startswith("Error: The disk is full")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.exceptions.Abort()])
def test_an_interrupt_says_how_to_go_on(call, failing, error):
    failing(error)
    code, out, err = call("doctor")
    assert code == 130
    assert err.strip() == "Error: Interrupted.\nHint: Run the same command again to go on."
    assert out == ""


@pytest.mark.parametrize("redo", [["--redo", "data"], ["--redo=data"]])
def test_what_is_redone_goes_on_without_being_redone_once_more(call, monkeypatch, redo):
    monkeypatch.setattr(cli, "get_command", lambda _context, _name: interrupted)
    code, _, err = call("data", *redo)
    assert code == 130
    again = "Run the same command again to go on; without --redo, if the old results are set aside"
    assert again in err


@click.command()
@click.option("--redo")
def interrupted(**_given):
    raise KeyboardInterrupt


def test_a_closed_pipe_ends_quietly(failing, monkeypatch):
    failing(BrokenPipeError())
    monkeypatch.setattr(sys, "argv", ["codlocal", "doctor"])
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1


def test_a_bug_is_not_hidden(failing, monkeypatch):
    failing(ZeroDivisionError("a bug"))
    monkeypatch.setattr(sys, "argv", ["codlocal", "doctor"])
    with pytest.raises(ZeroDivisionError):
        main()


def test_a_warning_is_shown_without_its_place_in_the_code(call, monkeypatch):
    def warn(**_options):
        warnings.warn("A file is odd.", stacklevel=1)

    monkeypatch.setattr("codlocal.cli.doctor.doctor.callback", warn)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        code, _, err = call("doctor")
    assert (code, err) == (0, "Warning: A file is odd.\n")


@pytest.mark.parametrize("option", [["--run", ""], ["--run="], ["--data", ""]])
def test_an_empty_path_is_not_the_current_folder(call, option):
    code, _, err = call("data", *option)
    assert code == 2
    assert "can't be empty" in err


def test_a_second_interrupt_ends_at_once(call, failing):
    failing(KeyboardInterrupt())
    call("doctor")
    assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
