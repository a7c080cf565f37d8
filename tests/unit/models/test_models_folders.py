import multiprocessing
import time
from pathlib import Path

import pytest

from codlocal.core.console import Console
from codlocal.models.folders import build_folder, locked, make_readable, model_hash


def test_a_build_that_fails_leaves_the_old_folder(tmp_path: Path):
    target = tmp_path / "t"
    build_folder(target, lambda folder: folder.joinpath("a").touch())

    def fail(folder: Path) -> None:
        folder.joinpath("b").touch()
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        build_folder(target, fail)
    assert [path.name for path in tmp_path.iterdir()] == ["t"]
    assert [path.name for path in target.iterdir()] == ["a"]


def test_a_resumable_build_finds_its_files_again(tmp_path: Path):
    def fail(folder: Path) -> None:
        folder.joinpath("half").touch()
        raise OSError("killed")

    with pytest.raises(OSError, match="killed"):
        build_folder(tmp_path / "t", fail, resumable=True)
    seen = []
    build_folder(tmp_path / "t", lambda folder: seen.extend(folder.iterdir()), resumable=True)
    assert [path.name for path in seen] == ["half"]
    assert not tmp_path.joinpath("t.partial").exists()


def test_the_files_of_a_folder_are_on_the_disk(tmp_path: Path, synced):
    def build(folder: Path) -> None:
        folder.joinpath("inner").mkdir()
        for name in ("weights", "inner/more"):
            folder.joinpath(name).touch()

    build_folder(tmp_path / "t", build)
    assert {"weights", "more"} <= synced


def _hold(path: Path, log: Path) -> None:
    with locked(path, Console(0)):
        log.touch()


def test_two_processes_never_hold_a_lock_at_once(tmp_path: Path, capfd):
    lock, log = tmp_path / "a/l", tmp_path / "log"
    other = multiprocessing.get_context("spawn").Process(target=_hold, args=(lock, log))
    with locked(lock, Console(0)):
        other.start()
        said, patience = "", time.monotonic() + 60
        while "Waiting for another codlocal process, which makes l." not in said:
            assert time.monotonic() < patience
            time.sleep(0.05)
            said += capfd.readouterr().err
        assert not log.exists()
    other.join()
    assert log.exists()


def test_weights_get_the_mode_of_the_configuration(tmp_path: Path):
    tmp_path.joinpath("config.json").touch(0o644)
    weights = tmp_path / "model.safetensors"
    weights.touch(0o600)
    make_readable(tmp_path)
    assert weights.stat().st_mode & 0o777 == tmp_path.joinpath("config.json").stat().st_mode & 0o777


def test_a_models_hash_covers_weights_configuration_and_tokenizer_only(tmp_path: Path):
    for name in ("config.json", "model.safetensors", "tokenizer.json", "README.md"):
        tmp_path.joinpath(name).write_text("1")
    before = model_hash(tmp_path)
    tmp_path.joinpath("README.md").write_text("2")
    assert model_hash(tmp_path) == before
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        tmp_path.joinpath(name).write_text("2")
        assert model_hash(tmp_path) != before
        before = model_hash(tmp_path)
