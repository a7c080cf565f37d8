"""What a run folder says of its stages, in `manifest.json`."""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from codlocal import __version__
from codlocal.core.errors import RunError
from codlocal.core.records import Row


class StageRecord(Row):
    """What the manifest keeps of one stage.

    `facts` are its counts and sources; `steering` has the settings of later stages that it heeds,
    and is empty where they are not known.
    """

    status: Literal["running", "done"]
    settings: dict[str, Any]
    steering: dict[str, Any] = Field(default_factory=dict)
    started: str
    seconds: float = 0.0
    facts: dict[str, Any] = Field(default_factory=dict)


class Manifest(Row):
    """Which stages of a run are done, with what, and under which settings."""

    version: str = __version__
    created: str
    stages: dict[str, StageRecord] = Field(default_factory=dict)


def read_manifest(path: Path) -> Manifest | None:
    """A manifest as it is on disk; None if there is none.

    Raises:
        RunError: the file is damaged, or of another version of codlocal.

    """
    if not path.exists():
        return None
    content = path.read_bytes()
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        version = _version_of(content)
        if version is None:
            raise RunError(
                f"{path} is damaged.", "Restore it from a copy, or start a new --run."
            ) from error
        raise RunError(
            f"{path} is of another version of codlocal than {__version__}, or was changed by "
            f"hand; its own version is {version}.",
            "Go on with the version that made it, or start a new --run.",
        ) from error


def _version_of(manifest: bytes) -> str | None:
    """The version that an unreadable manifest gives; None if it is nothing of the kind."""
    try:
        found = json.loads(manifest)
    except (ValueError, RecursionError):
        return None
    version = found.get("version") if isinstance(found, dict) else None
    return version if isinstance(version, str) else None
