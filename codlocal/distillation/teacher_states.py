"""The teacher's hidden states, computed once per text and read from disk batch by batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from codlocal.core import hashing
from codlocal.core.console import Console
from codlocal.distillation.filters import TeacherFilters
from codlocal.distillation.hidden_states import hidden_states
from codlocal.distillation.keyed_tensors import is_of, store
from codlocal.models.classifier import Classifier

_FILE = "states.safetensors"


@dataclass(frozen=True)
class TeacherStates:
    """Hidden states of some layers for every text of a run, on disk by text id.

    Attributes:
        path: a safetensors file, one tensor [layers, tokens, width] per text, its layers in the
            order in which they were asked for.
        rows: the place of each text id in the file.

    """

    path: Path
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
    filters: TeacherFilters | None = None,
) -> TeacherStates:
    """Return the teacher's states for `texts` (id -> text), computed unless `folder` has them.

    With `filters` of the same layers they are the filtered states.

    Raises:
        ModelError: the teacher does not give the hidden states of its layers.

    """
    key = hashing.of_value(
        [teacher_hash, list(layers), list(texts.items()), filters and filters.key]
    )
    path = folder / _FILE
    if not is_of(path, key):
        states = _compute(teacher, list(texts.values()), layers, console)
        if filters is not None:
            states = [filters.apply(one.to(teacher.device)) for one in states]
        store(path, key, {str(row): tensor for row, tensor in enumerate(states)})
    return TeacherStates(path, {one: row for row, one in enumerate(texts)})


def _compute(
    teacher: Classifier, texts: list[str], layers: Sequence[int], console: Console
) -> list[torch.Tensor]:
    teacher.model.train(mode=False)
    found = []
    with console.progress("Teacher states", len(texts)) as task, torch.inference_mode():
        for row in teacher.encoder.encode(texts):
            inputs = teacher.encoder.collate([row], teacher.device)
            found.append(hidden_states(teacher, inputs, layers)[:, 0].cpu())
            task.advance(1)
    return found
