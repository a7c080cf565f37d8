import subprocess
import sys


def test_a_run_is_looked_at_without_torch():
    """Torch takes over a second to import, which a run that is done need not spend."""
    code = (
        "import sys; from codlocal.pipeline import preflight, session; "
        "print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
