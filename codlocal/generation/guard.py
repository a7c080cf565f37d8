"""Runs a command and ends its whole process group when this script's standard input closes.

Started as `python guard.py COMMAND…` in a session of its own, with a pipe as standard input: the
pipe closes however the parent dies, `kill -9` included, so no server outlives its run. The file
is run by path and imports nothing of codlocal, so that it starts in milliseconds.
"""

import os
import signal
import subprocess
import sys
import threading
import time

GRACE_SECONDS = 10.0


def _end_group(child: "subprocess.Popen[bytes]") -> None:
    """Ask the group to stop, then kill it, this process included."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(os.getpgrp(), signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    while child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(os.getpgrp(), signal.SIGKILL)


def main() -> int:
    """Run the command of the command line; return its exit status."""
    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)

    def wait_for_parent() -> None:
        while sys.stdin.buffer.read(4096):
            pass
        _end_group(child)

    threading.Thread(target=wait_for_parent, daemon=True).start()
    status = child.wait()
    return 128 - status if status < 0 else status


if __name__ == "__main__":
    sys.exit(main())
