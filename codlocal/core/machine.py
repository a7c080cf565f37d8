"""What this process may use of the machine: a container often has less than is there."""

import os
import shutil
from pathlib import Path

_MEMORY_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),  # control groups v2
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),  # v1
)

_DRIVER = Path("/proc/driver/nvidia/version")


def cores() -> int:
    """CPU cores that this process may use: by affinity, and by the quota of its control group."""
    import joblib

    return int(joblib.cpu_count())


def cores_by_affinity() -> int:
    """CPU cores that this process may run on, whatever share of their time it has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_bytes() -> int | None:
    """Memory that this process may use, other processes' share included; None where unknown."""
    try:
        physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
    return min([physical, *filter(None, map(_limit, _MEMORY_LIMITS))])


def has_gpu_driver() -> bool:
    """Whether a driver for NVIDIA's GPUs is installed: its tool is missing in some containers."""
    return shutil.which("nvidia-smi") is not None or _DRIVER.exists()


def _limit(path: Path) -> int | None:
    try:
        return int(path.read_text())  # v2 says "max" where there is none
    except (OSError, ValueError):
        return None
