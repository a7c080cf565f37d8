import subprocess
import sys

import pytest

RUNS = "from codlocal.pipeline import preflight, session"
SERVERS = """
from pathlib import Path
from codlocal.core.config import resolve
from codlocal.pipeline import engines
given = {"engine_python": sys.executable, "device": "cpu"}
engines.server_settings(resolve([{"runtime": given}]), Path("model"), Path("log"))
"""


@pytest.mark.parametrize("code", [RUNS, SERVERS])
def test_a_run_is_looked_at_and_a_server_on_a_cpu_is_described_without_torch(code):
    """Torch takes over a second to import, which neither need spend."""
    told = "print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    command = [sys.executable, "-c", f"import sys\n{code}\n{told}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
