"""Folders that are either whole or not there, and that two processes never build at once."""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from codlocal.core import hashing
from codlocal.core.console import Console

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "spm.model",
    "sentencepiece.bpe.model",
    "vocab.json",
    "vocab.txt",
)


@contextmanager
def locked(path: Path, console: Console) -> Iterator[int]:
    """Hold the lock file `path` while the block runs; wait for a process that holds it.

    Yields its descriptor: a program that inherits it holds the lock, too, if it outlives us.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            console.info(f"Waiting for another codlocal process, which makes {path.stem}.")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle.fileno()


def build_folder(target: Path, build: Callable[[Path], object], *, resumable: bool = False) -> None:
    """Let `build` fill a sibling of `target`, then put it in the target's place in one step.

    Its files are written to the disk before: no loss of power leaves an empty one in its place.
    A resumable build finds what it left in the sibling when it was interrupted.
    """
    partial = target.with_name(target.name + ".partial")
    if not resumable:
        shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True, exist_ok=True)
    try:
        build(partial)
        sync_files(partial)
        shutil.rmtree(target, ignore_errors=True)
        partial.replace(target)
    finally:
        if not resumable:
            shutil.rmtree(partial, ignore_errors=True)


def sync_files(folder: Path) -> None:
    """Have every file of a folder written to the disk."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as handle:
                os.fsync(handle.fileno())


def copy_folder(source: Path, target: Path) -> None:
    """Copy a folder to a place where it is whole or not there."""
    build_folder(target, lambda folder: shutil.copytree(source, folder, dirs_exist_ok=True))


def copy_file(source: Path, target: Path) -> None:
    """Copy a file to a place where it is whole or not there."""
    partial = target.with_name(target.name + ".partial")
    partial.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, partial)
    partial.replace(target)


def make_readable(folder: Path) -> None:
    """Give weight files the mode of the other files: safetensors writes them for the owner only."""
    mode = folder.joinpath("config.json").stat().st_mode
    for weights in folder.glob("*.safetensors"):
        weights.chmod(mode)


def model_hash(folder: Path) -> str:
    """SHA-256 over what makes a model: its configuration, weights and tokenizer files."""
    tokenizer = [folder / name for name in TOKENIZER_FILES]
    weights = sorted(folder.glob("*.safetensors"))
    files = [folder / "config.json", *weights, *tokenizer]
    return hashing.of_files(path for path in files if path.is_file())
