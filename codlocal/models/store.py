"""Fine-tuned teachers kept by content: the same base, texts and settings give the same folder."""

from collections.abc import Callable, Sequence
from pathlib import Path

from codlocal.core import hashing, paths
from codlocal.core.console import Console
from codlocal.core.sections import TeacherConfig
from codlocal.models.folders import build_folder, locked, model_hash

_REVISION = 1
"""Raised when fine-tuning changes so that the same settings give other weights."""

_NOT_WEIGHTS = {"model", "max_rows", "quantization"}
"""Settings that are in the key by other values, or change nothing in what is trained."""


def teacher_key(
    base: Path,
    rows: Sequence[tuple[str, int]],
    label_names: Sequence[str],
    settings: TeacherConfig,
) -> str:
    """The key of a teacher: a hash of all that its weights depend on.

    `rows` are the training texts with their labels, in training order. A teacher is stored in
    full precision, and quantised when it is loaded.
    """
    return hashing.of_value(
        {
            "revision": _REVISION,
            "base": model_hash(base),
            "rows": hashing.of_value([list(row) for row in rows]),
            "labels": list(label_names),
            "settings": settings.model_dump(mode="json", exclude=_NOT_WEIGHTS),
        }
    )


def find(key: str) -> Path | None:
    """The folder of a stored teacher, if there is one."""
    folder = paths.teachers() / key
    return folder if folder.joinpath("config.json").is_file() else None


def publish(key: str, build: Callable[[Path], None], console: Console) -> Path:
    """Build a teacher into the store, unless another process did so in the meantime.

    An interrupted build finds its own files again.
    """
    with locked(paths.teachers() / f"{key}.lock", console):
        folder = find(key)
        if folder is None:
            folder = paths.teachers() / key
            build_folder(folder, build, resumable=True)
        return folder
