"""What `--help` says, and that it says it at once."""

import subprocess
import sys

import pytest
from click.testing import CliRunner

from codlocal.cli import cli

COMMANDS = (
    "pipeline", "data", "teacher", "generate", "verify", "distill", "evaluate", "measures",
    "compare-generators", "ablate", "report", "theory", "doctor", "engine", "serve",
)  # fmt: skip


def test_help_lists_every_command():
    result = CliRunner().invoke(cli, ["--help"])
    assert result.exit_code == 0
    _, _, *sections = result.output.split(":\n")
    rows = [line.split(maxsplit=1) for one in sections for line in one.splitlines() if "  " in line]
    assert [name for name, _ in rows[: len(COMMANDS)]] == list(COMMANDS)
    assert "..." not in result.output.split("ARGS]...")[1], "what a command does fits into a line"
    for title in ("A run and its stages", "Comparisons", "This machine"):
        assert title in result.output
    assert "codlocal pipeline --dataset yelp --profile embedded" in result.output


@pytest.mark.parametrize(
    "command",
    [[name] for name in COMMANDS] + [["teacher", "train"], ["engine", "install"]],
    ids=" ".join,
)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_every_command_helps(command, option):
    result = CliRunner().invoke(cli, [*command, option], env={"COLUMNS": "80"})
    assert result.exit_code == 0
    assert result.output.startswith(f"Usage: cli {' '.join(command)}")
    assert max(map(len, result.output.splitlines())) <= 80
    assert len(result.output.splitlines()) > 4
    if command[0] in {"pipeline", "data", "generate", "verify", "distill", "evaluate", "serve"}:
        for shared in ("--run", "--profile", "--config", "--set", "--json", "--quiet", "--verbose"):
            assert shared in result.output


def test_help_loads_no_heavy_library():
    code = (
        "import sys; sys.argv = ['codlocal', '--help']\n"
        "from codlocal.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'datasets', 'outlines', 'openai', 'sklearn'}\n"
        "print('heavy:', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "heavy: []"
