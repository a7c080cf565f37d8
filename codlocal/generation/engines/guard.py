"""Runs a command and ends its whole process group when this script's standard input closes.

Started as `python guard.py COMMAND…` in a session of its own, with a pipe as standard input: the
pipe closes however the parent dies, `kill -9` included, so no server outlives its run. The file
is run by path and imports nothing of codlocal, so that it starts in milliseconds.
"""

import os
import select
import signal
import subprocess
import sys
import time

GRACE_SECONDS = 10.0
_POLL_SECONDS = 0.1


def _end_group(child: "subprocess.Popen[bytes]") -> None:
    """Ask the group to stop, then kill it, this process included."""
    _ask_group_to_stop()
    deadline = time.monotonic() + GRACE_SECONDS
    while child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _ask_group_to_stop() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(os.getpgrp(), signal.SIGTERM)


def main() -> int:
    """Run the command of the command line; return its exit status."""
    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
    # One thread does it all: signals can only be set in the main one, and a second one would race
    # with the end of the child.
    while child.poll() is None:
        readable, _, _ = select.select([0], [], [], _POLL_SECONDS)
        if readable and not os.read(0, 4096):
            _end_group(child)
    # A server that dies leaves its engine process behind.
    _ask_group_to_stop()
    return 128 - child.returncode if child.returncode < 0 else child.returncode


if __name__ == "__main__":
    sys.exit(main())
