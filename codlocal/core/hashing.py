"""Content hashes of values and of files."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path


def of_value(value: object) -> str:
    """SHA-256 of a JSON value in canonical form."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def of_file(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def of_files(paths: Iterable[Path]) -> str:
    """SHA-256 over the names and contents of files, whatever their order."""
    return of_value(sorted((path.name, of_file(path)) for path in paths))
