import shutil
import subprocess
import sys

import pytest

from codlocal.core import jsonl
from codlocal.core.config import Config
from codlocal.core.errors import RunError
from codlocal.core.records import Row
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


def test_a_manifest_that_goes_while_the_run_works_is_not_begun_anew(tmp_path):
    manifest = tmp_path / "manifest.json"
    with opened(tmp_path) as run, run.stage("data"):
        pass
    gone = pytest.raises(RunError, match="has gone while")
    with gone, opened(tmp_path) as run, run.stage("teacher"):
        manifest.unlink()
    assert not manifest.exists()
    with opened(tmp_path) as run, run.stage("data"):
        pass
    with gone, opened(tmp_path) as run:
        manifest.unlink()
        with run.stage("teacher"):
            pass


def test_a_new_folder_that_goes_while_the_run_works_is_told_as_such(tmp_path):
    path = tmp_path / "new"
    gone = pytest.raises(RunError, match="has gone while")
    with gone, opened(path) as run, run.stage("data"):
        shutil.rmtree(path)


@pytest.mark.parametrize("content", [None, ""])
def test_a_run_whose_settings_are_lost_is_not_gone_on_with(tmp_path, content):
    with opened(tmp_path) as run, run.stage("data"):
        run.file("data").mkdir()
    settings = tmp_path / "run.toml"
    assert RunFolder.saved_settings(tmp_path)
    settings.unlink()
    if content is not None:
        settings.write_text(content)
    with pytest.raises(RunError, match="is missing or empty") as caught:
        RunFolder.saved_settings(tmp_path)
    assert "--redo" not in caught.value.hint


@pytest.mark.parametrize("name", ["run", "data", "students"])
def test_a_damaged_row_says_which_stage_makes_it_anew(tmp_path, name):
    """Whatever the folder of the run is called."""
    run = tmp_path / name
    jsonl.write_text(run / "manifest.json", "{}")
    for parts, advice in (
        (("pairs.jsonl",), "--redo verify."),
        (("data", "train.jsonl"), "--redo data."),
        (("teacher_outputs", "x.jsonl"), "--redo distill."),
        (("mine.jsonl",), "--redo with the stage"),
    ):
        path = run.joinpath(*parts)
        jsonl.write_text(path, "\0\n")
        with pytest.raises(RunError) as caught:
            list(jsonl.read_rows(path, Row))
        assert advice in caught.value.hint


def test_a_name_that_is_no_utf_8_is_refused(tmp_path):
    path = tmp_path / "bad\udcff"
    with pytest.raises(RunError, match="not UTF-8"), opened(path):
        pass
    assert not path.exists()
