"""A student with trained linear maps from its hidden states to the teacher's width."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch

from codlocal.distillation.hidden_states import compared_states

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class StudentOutput(NamedTuple):
    """Logits, float [n, classes], and each mapped layer's projected states [n, tokens, width]."""

    logits: torch.Tensor
    states: tuple[torch.Tensor, ...]


class ProjectedStudent(torch.nn.Module):
    """A student and one projection per mapped layer: trained, saved and resumed as one module.

    The projections serve the training alone; the published student doesn't have them.
    """

    def __init__(
        self, student: "PreTrainedModel", layers: Sequence[int], projections: torch.nn.ModuleList
    ) -> None:
        """Put projections on a student.

        Args:
            student: the model to be trained.
            layers: numbers of the mapped layers, from 1.
            projections: one linear map for each of them.

        """
        super().__init__()
        self.student = student
        self.layers = tuple(layers)
        self.projections = projections.to(student.device)

    def forward(self, **inputs: torch.Tensor) -> StudentOutput:
        """Logits and projected hidden states for `input_ids` and `attention_mask` [n, tokens]."""
        output = self.student(**inputs, output_hidden_states=True)
        states = compared_states(self.student, output.hidden_states, self.layers)
        projected = (one(layer) for one, layer in zip(self.projections, states, strict=True))
        return StudentOutput(output.logits, tuple(projected))


def new_projections(count: int, width: int, teacher_width: int, seed: int) -> torch.nn.ModuleList:
    """Make untrained projections from a student's states to the teacher's width."""
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.ModuleList(
        [new_projection(width, teacher_width, generator) for _ in range(count)]
    )


def new_projection(width: int, teacher_width: int, generator: torch.Generator) -> torch.nn.Linear:
    """The identity where the widths are equal (models of one family start alike), else random."""
    with torch.random.fork_rng(devices=[]):
        projection = torch.nn.Linear(width, teacher_width)
    with torch.no_grad():
        projection.bias.zero_()
        if width == teacher_width:
            torch.nn.init.eye_(projection.weight)
        else:
            projection.weight.normal_(std=width**-0.5, generator=generator)
    return projection
