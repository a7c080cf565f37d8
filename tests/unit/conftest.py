"""What all unit tests have in common."""

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A store of the test's own and no engine: what the user has is neither read nor filled."""
    monkeypatch.setenv("CODLOCAL_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CODLOCAL_ENGINE", raising=False)
    return tmp_path / "home"


@pytest.fixture
def synced(monkeypatch):
    """The names of the files that were synced to disk, without waiting for the disk."""
    names = set()

    def fsync(number):
        names.add(Path(f"/proc/self/fd/{number}").readlink().name)

    monkeypatch.setattr(os, "fsync", fsync)
    return names
