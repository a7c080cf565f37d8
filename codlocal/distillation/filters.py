"""Task-aware filters: linear maps that keep of a layer's hidden states what the task needs.

They are the first stage of task-aware layer-wise distillation (TED; Liang et al., ICML 2023,
arXiv 2210.01351). Its second stage compares filtered states of student and teacher.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn import functional

from codlocal.core import hashing
from codlocal.core.console import Console
from codlocal.distillation.hidden_states import layer_means
from codlocal.distillation.keyed_tensors import is_of, store
from codlocal.distillation.projections import new_projection
from codlocal.models.classifier import Classifier

MOST_TEXTS = 1024
"""A teacher's filters are trained on no more texts than this."""

_FILE = "filters.safetensors"
_STEPS = 200
_LEARNING_RATE = 1e-4


@dataclass(frozen=True)
class TeacherFilters:
    """One trained linear map for each of some of a teacher's layers; `key` names their training."""

    key: str
    maps: torch.nn.ModuleList

    def apply(self, states: torch.Tensor) -> torch.Tensor:
        """The filtered states: float [layers, tokens, width] in and out, where the maps are."""
        with torch.no_grad():
            pairs = zip(self.maps, states.float(), strict=True)
            return torch.stack([one(layer) for one, layer in pairs])


def teacher_filters(
    folder: Path,
    teacher: Classifier,
    teacher_hash: str,
    texts: Mapping[str, str],
    layers: Sequence[int],
    console: Console,
) -> TeacherFilters:
    """Return the filters of some of a teacher's layers, trained unless `folder` has them.

    They are part of what the teacher knows: it gives its own labels to `texts`, the split that it
    was trained on itself (a sample of `MOST_TEXTS` of it). No student sees more of that split than
    the texts it has anyway.

    Raises:
        ModelError: the teacher does not give the hidden states of its layers.

    """
    ids = random.Random(0).sample(sorted(texts), min(MOST_TEXTS, len(texts)))  # noqa: S311
    chosen = [texts[one] for one in ids]
    width = int(teacher.model.config.hidden_size)
    key = hashing.of_value([teacher_hash, list(layers), chosen])
    path = folder / _FILE
    if not is_of(path, key):
        console.detail(f"Training the teacher's filters on {len(chosen)} texts")
        labels = torch.from_numpy(teacher.logits(chosen)).argmax(dim=-1)
        store(path, key, own_filters(teacher, chosen, labels, layers, width).state_dict())
    return TeacherFilters(key, _load(path, len(layers), width).to(teacher.device))


def keep_filters(path: Path, maps: torch.nn.ModuleList, layers: Sequence[int]) -> None:
    """Write filters as a safetensors file; its metadata tell whose `layers` they are, from 1."""
    from safetensors.torch import save_file

    tensors = {name: one.detach().cpu().contiguous() for name, one in maps.named_parameters()}
    partial = path.with_name(f"{path.name}.partial")
    save_file(tensors, partial, {"layers": " ".join(map(str, layers))})
    partial.replace(path)


def own_filters(
    classifier: Classifier,
    texts: Sequence[str],
    labels: torch.Tensor,
    layers: Sequence[int],
    width: int,
    seed: int = 0,
) -> torch.nn.ModuleList:
    """Train filters of a classifier's layers; the classifier itself is left as it is.

    Args:
        classifier: whose states are filtered.
        texts: n texts.
        labels: int64 [n].
        layers: numbers of the layers, from 1.
        width: of the filtered states.
        seed: draws filters, poolers and heads.

    Returns:
        One `torch.nn.Linear` per layer.

    Raises:
        ModelError: the model does not give the hidden states of its layers.

    """
    means = layer_means(classifier, texts, layers)
    classes = len(classifier.label_names)
    return train_filters(means, labels.to(means.device), classes, width, seed)


def train_filters(
    means: torch.Tensor, labels: torch.Tensor, classes: int, width: int, seed: int = 0
) -> torch.nn.ModuleList:
    """Fit each layer's filter, with a pooler and a head of its own, by cross-entropy.

    The pooler reads the mean of the filtered states over a text's tokens. As filters are linear
    that is the filtered mean, so the means of the states are all that this training needs.

    Args:
        means: float [layers, n, states' width], from a frozen model.
        labels: int64 [n].
        classes: how many classes there are.
        width: of the filtered states.
        seed: draws filters, poolers and heads.

    Returns:
        One `torch.nn.Linear` per layer; poolers and heads have done their work.

    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        drawn = [_Probe(means.shape[-1], width, classes, generator) for _ in means]
    probes = [probe.to(means.device) for probe in drawn]
    parameters = torch.nn.ModuleList(probes).parameters()
    optimizer = torch.optim.AdamW(parameters, lr=_LEARNING_RATE)
    for _ in range(_STEPS):
        # A sum over layers is one optimisation for each: they share no parameter.
        losses = [
            functional.cross_entropy(probe(states), labels)
            for probe, states in zip(probes, means, strict=True)
        ]
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()  # so that no gradient goes on into the training that comes next
    return torch.nn.ModuleList([probe.filter for probe in probes])


class _Probe(torch.nn.Module):
    """A filter, and the pooler and the head that show it the task."""

    def __init__(
        self, states_width: int, width: int, classes: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.filter = new_projection(states_width, width, generator)
        self.pooler = torch.nn.Linear(width, width)
        self.head = torch.nn.Linear(width, classes)

    def forward(self, means: torch.Tensor) -> torch.Tensor:
        """Logits, float [n, classes], of means of states, float [n, states' width]."""
        logits: torch.Tensor = self.head(torch.tanh(self.pooler(self.filter(means))))
        return logits


def _load(path: Path, layers: int, width: int) -> torch.nn.ModuleList:
    from safetensors.torch import load_file

    maps = torch.nn.ModuleList([torch.nn.Linear(width, width) for _ in range(layers)])
    maps.load_state_dict(load_file(path))
    return maps.requires_grad_(False)
