"""Several processes at one command, as `accelerate launch` starts them."""

import os
import socket
import subprocess
import sys
from pathlib import Path


def launch(*arguments: str, cwd: Path | None = None) -> list[tuple[int, str, str]]:
    """Run a command of codlocal in two processes: each one's exit code, results and messages."""
    launched = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": _free_port()}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "codlocal", *arguments],
            env={**os.environ, **launched, "RANK": rank, "LOCAL_RANK": rank},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd,
        )
        for rank in "01"
    ]
    said = [one.communicate(timeout=300) for one in processes]
    return [(one.returncode, *words) for one, words in zip(processes, said, strict=True)]


def _free_port() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])
