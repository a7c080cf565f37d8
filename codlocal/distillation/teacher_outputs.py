"""The teacher's logits, computed once for every text that any student of the run needs."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from codlocal.core import jsonl
from codlocal.core.console import Console
from codlocal.core.records import Row
from codlocal.models.classifier import Classifier
from codlocal.models.folders import build_folder

_CHUNK = 512


class OutputKey(Row):
    """Which text a row of the logits belongs to."""

    id: str
    sha256: str


@dataclass(frozen=True)
class TeacherOutputs:
    """Logits by text id: `logits` is float32 [texts, classes], `rows` maps an id to its row."""

    rows: Mapping[str, int]
    logits: npt.NDArray[np.float32]

    def of(self, ids: Sequence[str]) -> npt.NDArray[np.float32]:
        """The logits of some texts, shape [len(ids), classes]."""
        return self.logits[[self.rows[one] for one in ids]]


def teacher_outputs(
    folder: Path,
    teacher: Classifier,
    teacher_hash: str,
    texts: Mapping[str, str],
    console: Console,
) -> TeacherOutputs:
    """Return the teacher's logits for `texts` (id -> text), from `folder` if they are all there."""
    keys = [
        OutputKey(id=one, sha256=hashlib.sha256(text.encode()).hexdigest())
        for one, text in texts.items()
    ]
    logits = _stored(folder, teacher_hash, keys)
    if logits is None:
        logits = _compute(teacher, list(texts.values()), console)
        _store(folder, teacher_hash, keys, logits)
    return TeacherOutputs({one: row for row, one in enumerate(texts)}, logits)


def _compute(teacher: Classifier, texts: list[str], console: Console) -> npt.NDArray[np.float32]:
    parts = []
    with console.progress("Teacher outputs", len(texts)) as task:
        for start in range(0, len(texts), _CHUNK):
            chunk = texts[start : start + _CHUNK]
            parts.append(teacher.logits(chunk))
            task.advance(len(chunk))
    return np.concatenate(parts)


def _stored(
    folder: Path, teacher_hash: str, keys: list[OutputKey]
) -> npt.NDArray[np.float32] | None:
    from safetensors import SafetensorError, safe_open

    if not folder.is_dir() or list(jsonl.read_rows(folder / "ids.jsonl", OutputKey)) != keys:
        return None
    try:
        with safe_open(folder / "logits.safetensors", "numpy") as file:
            if (file.metadata() or {}).get("teacher") != teacher_hash:
                return None
            logits: npt.NDArray[np.float32] = file.get_tensor("logits")
    except (OSError, SafetensorError):  # missing or damaged: it is made anew
        return None
    return logits


def _store(
    folder: Path, teacher_hash: str, keys: list[OutputKey], logits: npt.NDArray[np.float32]
) -> None:
    from safetensors.numpy import save_file

    def build(partial: Path) -> None:
        jsonl.write_rows(partial / "ids.jsonl", keys)
        save_file({"logits": logits}, partial / "logits.safetensors", {"teacher": teacher_hash})

    build_folder(folder, build)
