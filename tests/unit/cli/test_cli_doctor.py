"""The doctor, from the command line."""

import json

from click.testing import CliRunner

from codlocal.airgap import engine
from codlocal.cli import cli


def examined(*options):
    return CliRunner().invoke(cli, ["doctor", *options], standalone_mode=False)


def test_the_doctor_reports_and_exits_with_3_if_something_is_missing(monkeypatch):
    monkeypatch.setattr(engine, "imported_version", lambda _python: "0.32.0")
    result = examined("--json")
    summary = json.loads(result.stdout)
    assert summary["ready"] is False
    assert result.return_value == 3
    chosen = examined("--engine-python", "/tmp/[/x]/python")
    assert chosen.return_value == 0
    assert "0.32.0 in /tmp/[/x]/python" in " ".join(chosen.stdout.replace("│", " ").split())


def test_a_quiet_doctor_says_what_is_missing_alone():
    quiet = examined("-q")
    assert (quiet.return_value, quiet.stdout) == (3, "")
    assert quiet.stderr == (
        "Warning: vllm: not installed. codlocal engine install   (or use --engine transformers)\n"
    )
