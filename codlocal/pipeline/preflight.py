"""What can be known to be missing before anything is loaded, downloaded or trained."""

import shutil
from pathlib import Path

from codlocal.core import paths
from codlocal.core.config import Config
from codlocal.core.console import Console
from codlocal.core.errors import DeviceError
from codlocal.pipeline.engines import find_engine, has_gpu

_LOW_DISK_GB = 3.0


def check(config: Config, run: Path, console: Console) -> None:
    """Refuse a run that this machine can't finish.

    Raises:
        DeviceError: the settings need a GPU, and there is none.
        EngineError: the run will need vLLM, and there is none.

    """
    check_device(config)
    if config.generator.engine == "vllm" and not config.runtime.server_url:
        find_engine(config.runtime.engine_python)
    _warn_of_low_disk(run, console)


def check_device(config: Config) -> None:
    """Refuse settings that need a GPU where there is none.

    Raises:
        DeviceError: that is so.

    """
    if config.runtime.device == "cuda" and not has_gpu():
        raise DeviceError(
            f"The profile {config.profile!r} needs a CUDA GPU, and this machine shows none: "
            f"generator {config.generator.model}, teacher {config.teacher.model}.",
            "Without a GPU use `--profile embedded` (small models from the package registry), "
            "or --device cpu if you have the time. `codlocal doctor` tells more.",
        )


def _warn_of_low_disk(run: Path, console: Console) -> None:
    for place in {run, paths.home()}:
        existing = next(folder for folder in (place, *place.absolute().parents) if folder.exists())
        free = shutil.disk_usage(existing).free / 1e9
        if free < _LOW_DISK_GB:
            console.warn(f"Only {free:.1f} GB of disk are free for {place}.")
