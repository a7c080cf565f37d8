"""A network that ends at this machine: whatever goes beyond loopback fails, and is noted.

`environment` gives a child process that network, by way of a `sitecustomize` module.
"""

import os
from pathlib import Path

_SITECUSTOMIZE = """
import os, socket

NOTES = os.environ["NOTES_OF_ESCAPES"]
LOCAL = {"127.0.0.1", "::1", "localhost", "", None}

def refuse(what, host):
    with open(NOTES, "a") as notes:
        notes.write(f"{what} {host}\\n")
    raise OSError(f"the network is off limits: {what} {host}")

def checked_connect(name):
    real = getattr(socket.socket, name)
    def connect(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in LOCAL:
            refuse(name, address[0])
        return real(self, address)
    setattr(socket.socket, name, connect)

def checked_lookup(name):
    real = getattr(socket, name)
    def lookup(host, *rest, **more):
        text = host.decode() if isinstance(host, bytes) else host
        if text not in LOCAL:
            refuse(name, text)
        return real(host, *rest, **more)
    setattr(socket, name, lookup)

for name in ("connect", "connect_ex"):
    checked_connect(name)
for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex"):
    checked_lookup(name)
"""


def environment(folder: Path) -> dict[str, str]:
    """The environment of a child whose attempts to leave this machine are noted in `folder`."""
    package = folder / "off-limits"
    package.mkdir(parents=True, exist_ok=True)
    package.joinpath("sitecustomize.py").write_text(_SITECUSTOMIZE)
    return {**os.environ, "PYTHONPATH": str(package), "NOTES_OF_ESCAPES": str(folder / "escapes")}


def escapes(folder: Path) -> list[str]:
    """What the children tried to reach."""
    notes = folder / "escapes"
    return notes.read_text().splitlines() if notes.exists() else []
