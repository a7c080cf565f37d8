"""Settings and fixtures for all tests."""

import signal
import sys

import pytest
from hypothesis import settings

from codlocal.cli import cli, main

# A runner may start pytest with Ctrl-C ignored, as shells do for background jobs; the processes
# that the tests start inherit that. The tests of Ctrl-C need it to be heard.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says more about what else the machine does than about the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture
def call(monkeypatch, capsys):
    """Run `main` as the console script does: (exit code, standard output, standard error)."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}

    def run(*arguments, command=cli):
        monkeypatch.setattr(sys, "argv", ["codlocal", *arguments])
        with pytest.raises(SystemExit) as caught:
            main(command)
        said = capsys.readouterr()
        return caught.value.code, said.out, said.err

    yield run
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def fresh_accelerator():
    """Accelerate keeps one number format per process."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
