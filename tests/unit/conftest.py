"""What all unit tests have in common."""

import pytest


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A store of the test's own and no engine: what the user has is neither read nor filled."""
    monkeypatch.setenv("CODLOCAL_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CODLOCAL_ENGINE", raising=False)
    return tmp_path / "home"
