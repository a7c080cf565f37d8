"""One step of a student's training: what both models say of a batch, and the loss of that."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from codlocal.core.sections import DistillationConfig
from codlocal.distillation.composition import TrainingSet
from codlocal.distillation.hidden_states import mean_over_tokens
from codlocal.distillation.interpolation import TokenPair, mixed_logits, pairs_in
from codlocal.distillation.knowledge import Knowledge
from codlocal.distillation.objectives import (
    LayerStates,
    LossTensors,
    ObjectiveInputs,
    SoftOutputs,
    distillation_loss,
)
from codlocal.models.classifier import Classifier


@dataclass(frozen=True)
class Targets:
    """What n training texts are to become: the teacher's logits [n, classes], hard labels [n].

    `shift` [classes] is added to the student's logits before they are compared.
    """

    logits: torch.Tensor
    labels: torch.Tensor
    shift: torch.Tensor


class DistillationStep:
    """The loss of a batch under the configured method; its arguments are those of `StepLoss`.

    Of the `recombined` texts every step draws as many as the settings say.
    """

    def __init__(
        self,
        student: Classifier,
        training_set: TrainingSet,
        knowledge: Knowledge,
        targets: Targets,
        settings: DistillationConfig,
        recombined: Sequence[str] = (),
    ) -> None:
        texts = training_set.texts
        words = [text.text for text in texts]
        self._student = student
        self._rows = student.encoder.encode(words)
        self._teacher_rows = knowledge.teacher.encoder.encode(words)
        self._recombined = list(recombined)
        self._ids = [text.id for text in texts]
        calls = targets.logits.argmax(dim=-1).tolist()
        # What a split group has beyond its original is no pair. Nor is the flip of a flip, which a
        # later round may bring: the boundary is not between the two.
        self._groups = [
            [first, *(other for other in others if calls[other] != calls[first])]
            for first, *others in training_set.groups
            if texts[first].gold is not None
        ]
        self._knowledge = knowledge
        self._targets = targets
        self._settings = settings

    def __call__(self, model: torch.nn.Module, batch: list[int]) -> LossTensors:
        """The loss of the texts at the positions in `batch`."""
        # First of all, as the loop has just seeded the global generator for this step.
        pairs = pairs_in(batch, self._groups)
        mixed = self._mixed(model, pairs)
        recombined = self._of_recombined(model)
        inputs = self._student.encoder.collate(
            [self._rows[index] for index in batch], self._student.device
        )
        output = model(**inputs)
        layers = []
        if self._settings.method != "kd":
            goal = self._knowledge.layer_targets(
                [self._ids[index] for index in batch], self._student.device
            )
            layers = self._layers(output.states, inputs["attention_mask"], *goal)
        place = {index: position for position, index in enumerate(batch)}
        return distillation_loss(
            ObjectiveInputs(
                student_logits=output.logits + self._targets.shift,
                teacher_logits=self._targets.logits[batch],
                labels=self._targets.labels[batch],
                layers=layers,
                pairs=[(place[original], place[other]) for original, other in pairs],
                mixed=mixed,
                recombined=recombined,
            ),
            self._settings,
        )

    def _layers(
        self,
        states: tuple[torch.Tensor, ...],
        mask: torch.Tensor,
        goal: Iterable[torch.Tensor],
        goal_mask: torch.Tensor,
    ) -> list[LayerStates]:
        if not self._knowledge.same_tokens:
            states = tuple(mean_over_tokens(one, mask) for one in states)
        return [LayerStates(mine, its, goal_mask) for mine, its in zip(states, goal, strict=True)]

    def _mixed(self, model: torch.nn.Module, pairs: list[tuple[int, int]]) -> SoftOutputs | None:
        if not pairs or not self._settings.interpolation_weight:
            return None
        shares = torch.rand(len(pairs))
        teacher = self._knowledge.teacher
        teacher.model.train(mode=False)
        with torch.no_grad():
            goal = mixed_logits(teacher.model, teacher, _tokens(self._teacher_rows, pairs), shares)
        mine = mixed_logits(model, self._student, _tokens(self._rows, pairs), shares)
        mine = mine + self._targets.shift
        return SoftOutputs(mine, goal[:, teacher.order].to(mine.device))

    def _of_recombined(self, model: torch.nn.Module) -> SoftOutputs | None:
        if not (self._recombined and self._settings.recombined):
            return None
        drawn = torch.randint(len(self._recombined), (self._settings.recombined,)).tolist()
        texts = [self._recombined[at] for at in drawn]
        rows = teacher_rows = self._student.encoder.encode(texts)
        compared = self._settings.method != "kd"
        # States of single tokens are compared: both get the same, also of a text that one cuts.
        if not (compared and self._knowledge.same_tokens):
            teacher_rows = self._knowledge.teacher.encoder.encode(texts)
        elif self._knowledge.teacher.encoder.max_length < self._student.encoder.max_length:
            rows = teacher_rows = self._knowledge.teacher.encoder.encode(texts)
        goal, states, mask = self._knowledge.ask(teacher_rows, self._student.device)
        inputs = self._student.encoder.collate(rows, self._student.device)
        output = model(**inputs)
        layers = []
        if compared:
            layers = self._layers(output.states, inputs["attention_mask"], states, mask)
        return SoftOutputs(output.logits + self._targets.shift, goal, layers)


def _tokens(rows: list[list[int]], pairs: list[tuple[int, int]]) -> list[TokenPair]:
    return [TokenPair(rows[original], rows[other]) for original, other in pairs]
