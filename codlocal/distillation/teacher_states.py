"""The teacher's hidden states, computed once per text and read from disk batch by batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from codlocal.core import hashing
from codlocal.core.console import Console
from codlocal.core.errors import ModelError
from codlocal.models.classifier import Classifier
from codlocal.models.folders import build_folder

_FILE = "states.safetensors"


@dataclass(frozen=True)
class TeacherStates:
    """Hidden states of some layers for every text of a run, on disk by text id.

    Attributes:
        path: a safetensors file, one tensor [layers, tokens, width] per text.
        layers: the layer numbers, from 1, in the order of the first axis.
        rows: the place of each text id in the file.

    """

    path: Path
    layers: tuple[int, ...]
    rows: Mapping[str, int]

    def of(self, ids: Sequence[str]) -> list[torch.Tensor]:
        """The states of some texts, float [layers, tokens of the text, width] each."""
        from safetensors import safe_open

        with safe_open(self.path, "pt") as file:
            return [file.get_tensor(str(self.rows[one])) for one in ids]


def teacher_states(
    folder: Path,
    teacher: Classifier,
    teacher_hash: str,
    texts: Mapping[str, str],
    layers: Sequence[int],
    console: Console,
) -> TeacherStates:
    """Return the teacher's states for `texts` (id -> text), computed unless `folder` has them.

    Raises:
        ModelError: the teacher does not give the hidden states of its layers.

    """
    key = hashing.of_value([teacher_hash, list(layers), list(texts.items())])
    path = folder / _FILE
    if not _is_of(path, key):
        _store(folder, key, _compute(teacher, list(texts.values()), layers, console))
    return TeacherStates(path, tuple(layers), {one: row for row, one in enumerate(texts)})


def _is_of(path: Path, key: str) -> bool:
    from safetensors import safe_open

    if not path.is_file():
        return False
    with safe_open(path, "pt") as file:
        return bool((file.metadata() or {}).get("key") == key)


def _store(folder: Path, key: str, states: list[torch.Tensor]) -> None:
    from safetensors.torch import save_file

    tensors = {str(row): tensor for row, tensor in enumerate(states)}
    build_folder(folder, lambda partial: save_file(tensors, partial / _FILE, {"key": key}))


def _compute(
    teacher: Classifier, texts: list[str], layers: Sequence[int], console: Console
) -> list[torch.Tensor]:
    teacher.model.train(mode=False)
    found = []
    with console.progress("Teacher states", len(texts)) as task, torch.inference_mode():
        for row in teacher.encoder.encode(texts):
            inputs = teacher.encoder.collate([row], teacher.device)
            hidden = teacher.model(**inputs, output_hidden_states=True).hidden_states
            if len(hidden) <= max(layers):
                raise ModelError(
                    "The teacher does not give the hidden states of all its layers.",
                    "Use --method kd.",
                )
            found.append(torch.stack([hidden[layer][0] for layer in layers]).cpu())
            task.advance(1)
    return found
