"""The doctor: what this machine has, what is missing, and how to get it."""

import importlib.metadata
import importlib.util
import platform
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from codlocal import __version__
from codlocal.airgap import engine
from codlocal.core import machine, paths
from codlocal.core.errors import EngineError
from codlocal.models import packages

State = Literal["ok", "missing", "warning"]

_PACKAGES = ("torch", "transformers", "datasets", "outlines", "accelerate", "click", "rich")
_OTHER_TORCH = (
    "Update the driver, or install a torch that fits it (pytorch.org says which), then: codlocal "
    "engine install --gpu --upgrade"
)
_LOW_DISK_GB = 10.0
_LOW_MEMORY_GB = 9.0


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `remedy` says how to get what is missing."""

    area: str
    name: str
    state: State
    value: str
    remedy: str = ""


def examine(engine_python: Path | None = None) -> list[Finding]:
    """Look at versions, devices, engine, models and disk."""
    checks: tuple[Callable[[], list[Finding]], ...] = (
        _versions,
        _devices,
        lambda: _engine(engine_python),
        _models,
        _disk,
    )
    return [finding for check in checks for finding in check()]


def as_json(findings: list[Finding]) -> dict[str, object]:
    """The findings for a script: `ready` says whether the embedded profile can run."""
    return {
        "ready": not any(finding.state == "missing" for finding in findings),
        "findings": [asdict(finding) for finding in findings],
    }


def _versions() -> list[Finding]:
    found = [
        Finding("versions", "codlocal", "ok", __version__),
        Finding("versions", "python", "ok", platform.python_version()),
    ]
    for name in _PACKAGES:
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            remedy = "Install codlocal again: pip install codlocal"
            found.append(Finding("versions", name, "missing", "not installed", remedy))
        else:
            found.append(Finding("versions", name, "ok", version))
    return found


def _devices() -> list[Finding]:
    memory = _memory_gb()
    low = memory is not None and memory < _LOW_MEMORY_GB
    return [
        Finding("devices", "cpu", "ok", f"{machine.cores()} cores, {platform.machine()}"),
        Finding(
            "devices", "memory", "warning" if low else "ok",
            "unknown" if memory is None else f"{memory:.1f} GB",
            "The embedded profile needs about 9 GB." if low else "",
        ),
        _gpu(),
    ]  # fmt: skip


def _memory_gb() -> float | None:
    found = machine.memory_bytes()
    return None if found is None else found / 1e9


def _gpu() -> Finding:
    remedy = "The default and paper-qwen profiles need a CUDA GPU; --profile embedded does not."
    if not machine.has_gpu_driver():
        return Finding("devices", "gpu", "warning", "none", remedy)
    if shutil.which("nvidia-smi") is None:
        problem = _torchs_problem()
        told = "a driver without nvidia-smi" + (f", but {problem}" if problem else "")
        return Finding("devices", "gpu", "warning" if problem else "ok", told, _OTHER_TORCH)
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, check=False, timeout=20)
    except subprocess.TimeoutExpired:
        return Finding("devices", "gpu", "warning", "the driver hangs", remedy)
    if done.returncode or not done.stdout.strip():
        return Finding("devices", "gpu", "warning", "the driver does not answer", remedy)
    names = done.stdout.strip().replace("\n", "; ")
    problem = _torchs_problem()
    if problem:
        return Finding("devices", "gpu", "warning", f"{names}, but {problem}", _OTHER_TORCH)
    return Finding("devices", "gpu", "ok", names)


def _torchs_problem() -> str:
    if importlib.util.find_spec("torch") is None:
        return ""  # the versions tell
    from codlocal.models.devices import gpu_problem

    return gpu_problem()


def _engine(chosen: Path | None) -> list[Finding]:
    remedy = "codlocal engine install   (or use --engine transformers)"
    built = engine.marker()
    python = chosen or (paths.engine_python() if built else None)
    if python is None:
        if importlib.util.find_spec("vllm") is not None:
            return [Finding("engine", "vllm", "ok", "in codlocal's own environment")]
        half = paths.engine_python().exists()
        state = "half installed" if half else "not installed"
        return [Finding("engine", "vllm", "missing", state, remedy)]
    try:
        version = engine.imported_version(python)
    except (EngineError, OSError) as error:
        again = remedy.replace("install ", "install --upgrade ")
        return [Finding("engine", "vllm", "missing", str(error), again)]
    kind = f" ({built['kind']})" if built and not chosen else ""
    return [Finding("engine", "vllm", "ok", f"{version}{kind} in {python}")]


def _models() -> list[Finding]:
    found = []
    for name, model in packages.PACKAGED_MODELS.items():
        there = packages.at_hand(name) is not None
        found.append(
            Finding(
                "models", name, "ok" if there else "warning",
                str(paths.models() / name) if there else "not here yet",
                "" if there else "Fetched from the package registry on first use "
                f"({model.role}, {model.size_mb} MB, {model.licence}).",
            )
        )  # fmt: skip
    teachers = len(list(paths.teachers().glob("*/config.json")))
    found.append(Finding("models", "teachers", "ok", f"{teachers} in {paths.teachers()}"))
    return found


def _disk() -> list[Finding]:
    found = []
    for name, place in (("store", paths.home()), ("here", Path.cwd())):
        free = paths.free_gb(place)
        low = free < _LOW_DISK_GB
        if not paths.is_writable(place):
            remedy = "Point CODLOCAL_HOME at another folder." if name == "store" else "Use --run."
            found.append(Finding("disk", name, "warning", f"{place} can't be written to", remedy))
            continue
        found.append(
            Finding(
                "disk", name, "warning" if low else "ok", f"{free:.1f} GB free for {place}",
                "The CPU engine takes 3.4 GB, the embedded models 1.2 GB." if low else "",
            )
        )  # fmt: skip
    return found
