"""One call that loads whatever the settings name, and never serves anything else instead."""

import os
from collections.abc import Callable

from codlocal.core import paths
from codlocal.core.errors import DataError
from codlocal.core.sections import DatasetConfig
from codlocal.data import registry
from codlocal.data.bundled import load_bundled
from codlocal.data.cleaning import LoadedData
from codlocal.data.files import load_path
from codlocal.data.hub import NotAvailableError, load_cached, load_from_hub
from codlocal.data.registry import DatasetEntry

_SOURCES: dict[str, Callable[[DatasetEntry], LoadedData]] = {
    "cache": load_cached,
    "hub": load_from_hub,
}


def load(config: DatasetConfig, *, offline: bool = False) -> LoadedData:
    """Load the dataset of a run: `path` if it is set, else `name` from `source`.

    Source "auto" is the cache, then the hub unless offline. The bundled sentences are only
    served when asked for.

    Raises:
        ConfigError: the path begins with the home folder of a user who has none.
        DataError: the data is not there or can't be used; the hint says what else there is.

    """
    if config.path is not None:
        return load_path(config, paths.expanded(config.path))
    entry = registry.find(config.name)
    if config.source == "bundled":
        return load_bundled(entry)
    offline = offline or _offline_by_environment()
    if config.source == "hub" and offline:
        raise DataError(
            f"{entry.name} can't come from the hub while codlocal is offline.", _advice(entry)
        )
    sources = ("cache", "hub") if config.source == "auto" else (config.source,)
    return _first_of([name for name in sources if name == "cache" or not offline], entry)


def _first_of(sources: list[str], entry: DatasetEntry) -> LoadedData:
    reasons: list[str] = []
    for source in sources:
        try:
            return _SOURCES[source](entry)
        except NotAvailableError as error:
            reasons.append(f"{source}: {error}")
    raise DataError(
        f"{entry.name} can't be had from the {' or the '.join(sources)}.\n  "
        + "\n  ".join(reasons),
        _advice(entry),
    )


def _offline_by_environment() -> bool:
    values = (os.environ.get(name, "") for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"))
    return any(value.upper() in {"1", "ON", "YES", "TRUE"} for value in values)


def _advice(entry: DatasetEntry) -> str:
    if not entry.bundled:
        return "Use --data FILE for texts of your own."
    return (
        "Use --data FILE for texts of your own, --source bundled for a small free stand-in, "
        "or --profile embedded for a run without any hub."
    )
