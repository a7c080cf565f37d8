import subprocess
import sys

import pytest

from codlocal.core import jsonl
from codlocal.core.config import Config
from codlocal.core.errors import RunError
from codlocal.core.run import RunFolder


def opened(path, config=None, redo=None):
    return RunFolder.open(path, config or Config(), redo=redo)


def test_a_run_refused_before_its_first_row_leaves_no_folder(tmp_path):
    path = tmp_path / "runs" / "mine"
    with pytest.raises(RunError), opened(path) as run, run.stage("data"):
        raise RunError("No such texts.", "Correct --data.")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "error", [RunError("The disk is full.", "Free some."), KeyboardInterrupt()]
)
def test_an_error_leaves_the_folder_of_rows_or_of_an_interrupted_run(tmp_path, error):
    path = tmp_path / "mine"
    with pytest.raises(type(error)), opened(path) as run, run.stage("data"):
        if isinstance(error, RunError):
            run.file("data.partial").mkdir()
        raise error
    assert path.joinpath("run.toml").is_file()


def test_a_refusal_leaves_a_folder_that_was_there(tmp_path):
    with pytest.raises(RunError), opened(tmp_path):
        raise RunError("No such texts.", "Correct --data.")
    assert tmp_path.joinpath("run.toml").is_file()


def test_two_processes_can_not_share_a_folder(tmp_path):
    code = (
        "import sys; from pathlib import Path\n"
        "from codlocal.core.run import RunFolder, Config\n"
        "from codlocal.core.errors import RunError\n"
        "try:\n"
        "    with RunFolder.open(Path(sys.argv[1]), Config()): print('opened')\n"
        "except RunError as error: print(error.message)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with opened(tmp_path):
        with pytest.raises(RunError, match="Another codlocal process"), opened(tmp_path):
            pass
        shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert shown == f"Another codlocal process is working on {tmp_path}.\n"
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "opened\n"


def test_a_file_is_no_run_folder(tmp_path):
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(RunError, match="is a file"), opened(path):
        pass


def test_a_folder_with_files_of_its_own_is_no_run_folder(tmp_path):
    mine = tmp_path / "data" / "train.jsonl"
    jsonl.write_text(mine, "mine")
    with pytest.raises(RunError, match="its own data would be overwritten"), opened(tmp_path):
        pass
    assert [one.name for one in tmp_path.iterdir()] == ["data"]
    (tmp_path / "data").rename(tmp_path / "reviews")
    with opened(tmp_path):
        pass
