"""Distillation objectives as pure functions of tensors.

A method is one entry of `OBJECTIVES`; what it needs beside the logits becomes a field of
`ObjectiveInputs`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch.nn import functional

from codlocal.core.records import LossTerms
from codlocal.core.sections import DistillationConfig


@dataclass(frozen=True)
class LayerStates:
    """The hidden states of one mapped layer, for n texts of at most t tokens.

    Attributes:
        student: float [n, t, width], projected to the teacher's width, with gradient.
        teacher: float [n, t, width]; no gradient reaches it.
        mask: [n, t], 1 where a token counts and 0 where there is padding.

    """

    student: torch.Tensor
    teacher: torch.Tensor
    mask: torch.Tensor


@dataclass(frozen=True)
class SoftOutputs:
    """What both models say of m inputs without a label: logits, float [m, c] each, and layers."""

    student: torch.Tensor
    teacher: torch.Tensor
    layers: Sequence[LayerStates] = ()


@dataclass(frozen=True)
class ObjectiveInputs:
    """What an objective is computed from, for a batch of n texts and c classes.

    Attributes:
        student_logits: float [n, c], with gradient.
        teacher_logits: float [n, c]; no gradient reaches it.
        labels: int64 [n], the hard labels.
        layers: the mapped layers, for methods that compare them.
        pairs: positions in the batch of each original and its counterfactual.
        mixed: mixtures of a text and its counterfactual, where they are asked for.
        recombined: recombined texts beside the batch, where they are asked for.

    """

    student_logits: torch.Tensor
    teacher_logits: torch.Tensor
    labels: torch.Tensor
    layers: Sequence[LayerStates] = ()
    pairs: Sequence[tuple[int, int]] = ()
    mixed: SoftOutputs | None = None
    recombined: SoftOutputs | None = None


@dataclass(frozen=True)
class LossTensors:
    """The terms of a loss, scalars already multiplied by their weights; None stands for 0."""

    task: torch.Tensor
    kl: torch.Tensor | None = None
    layer: torch.Tensor | None = None
    pair: torch.Tensor | None = None
    interpolation: torch.Tensor | None = None
    recombined: torch.Tensor | None = None

    @property
    def total(self) -> torch.Tensor:
        """The sum of the terms: what is minimised."""
        total = self.task
        for term in (self.kl, self.layer, self.pair, self.interpolation, self.recombined):
            total = total if term is None else total + term
        return total

    def to_terms(self) -> LossTerms:
        """The terms as plain numbers."""
        terms = {field.name: getattr(self, field.name) for field in fields(self)}
        numbers = {name: 0.0 if term is None else term.item() for name, term in terms.items()}
        return LossTerms(**numbers, total=self.total.item())


def soft_targets_kl(
    student_logits: torch.Tensor, teacher_logits: torch.Tensor, temperature: float
) -> torch.Tensor:
    """KL(teacher || student) of the softmaxes at a temperature, batch mean, times temperature^2.

    The factor keeps gradients of one size whatever the temperature (Hinton et al., 2015,
    arXiv 1503.02531, section 2.1).

    Args:
        student_logits: float [n, c].
        teacher_logits: float [n, c], taken as a constant.
        temperature: > 0; 1 leaves the distributions as they are.

    Returns:
        A scalar, in nats, >= 0.

    """
    student = functional.log_softmax(student_logits.float() / temperature, dim=-1)
    teacher = functional.log_softmax(teacher_logits.detach().float() / temperature, dim=-1)
    divergence = functional.kl_div(student, teacher, reduction="batchmean", log_target=True)
    return divergence * temperature**2


def hard_label_ce(student_logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the student with hard labels, batch mean.

    Args:
        student_logits: float [n, c].
        labels: int64 [n], each in 0..c-1.

    Returns:
        A scalar, in nats.

    """
    return functional.cross_entropy(student_logits.float(), labels)


def layer_mse(layers: Sequence[LayerStates]) -> torch.Tensor:
    """Squared difference of hidden states: the mean over tokens and width, then over layers.

    Layer-wise distillation as in arXiv 2510.21631; padding counts for nothing, so the result
    doesn't depend on how a batch is padded.

    Returns:
        A scalar, >= 0.

    """
    errors = []
    for states in layers:
        difference = states.student.float() - states.teacher.detach().float()
        mask = states.mask.to(difference.dtype)
        per_token = difference.square().mean(dim=-1) * mask
        errors.append(per_token.sum() / mask.sum())
    return torch.stack(errors).mean()


def pair_difference_mse(
    student_logits: torch.Tensor, teacher_logits: torch.Tensor, pairs: Sequence[tuple[int, int]]
) -> torch.Tensor:
    """Squared error of how far the logits move from a text to its counterfactual.

    A text's logits are first centred over the classes, so that a constant added to all of them,
    which no softmax sees, counts for nothing. What is left of the difference is the step of the
    log-odds that the edit makes: the term asks for the teacher's step, wherever it starts.

    Args:
        student_logits: float [n, c].
        teacher_logits: float [n, c], taken as a constant.
        pairs: m >= 1 positions (original, counterfactual) in 0..n-1.

    Returns:
        A scalar, the mean over pairs and classes, >= 0.

    """
    originals, others = (list(side) for side in zip(*pairs, strict=True))
    error = student_logits.float() - teacher_logits.detach().float()
    centred = error - error.mean(dim=-1, keepdim=True)
    return (centred[others] - centred[originals]).square().mean()


def task_loss(student_logits: torch.Tensor, labels: torch.Tensor) -> LossTensors:
    """Plain fine-tuning: cross-entropy alone. Shapes as in `hard_label_ce`."""
    return LossTensors(task=hard_label_ce(student_logits, labels))


def kd_loss(inputs: ObjectiveInputs, settings: DistillationConfig) -> LossTensors:
    """CE(student, hard label) + kl_weight * KL(teacher || student, T) * T^2 (arXiv 2510.21631)."""
    divergence = soft_targets_kl(inputs.student_logits, inputs.teacher_logits, settings.temperature)
    return LossTensors(
        task=hard_label_ce(inputs.student_logits, inputs.labels),
        kl=settings.kl_weight * divergence,
    )


def lwd_loss(inputs: ObjectiveInputs, settings: DistillationConfig) -> LossTensors:
    """`kd_loss` + layer_weight * `layer_mse` (arXiv 2510.21631, layer-wise distillation)."""
    layer = settings.layer_weight * layer_mse(inputs.layers)
    return replace(kd_loss(inputs, settings), layer=layer)


Objective = Callable[[ObjectiveInputs, DistillationConfig], LossTensors]

OBJECTIVES: Mapping[str, Objective] = {"kd": kd_loss, "lwd": lwd_loss, "ted": lwd_loss}
"""The loss of each method; "ted" has that of "lwd", of states that went through `filters`."""


def distillation_loss(inputs: ObjectiveInputs, settings: DistillationConfig) -> LossTensors:
    """The loss of the configured method for one batch, with the terms of its pairs.

    These are pair_weight * `pair_difference_mse`, and interpolation_weight *
    KL(teacher || student, T) * T^2 of the mixtures; a weight of 0 leaves its term out. Recombined
    texts add the method's terms but for hard labels.
    """
    loss = OBJECTIVES[settings.method](inputs, settings)
    if inputs.pairs and settings.pair_weight:
        difference = pair_difference_mse(inputs.student_logits, inputs.teacher_logits, inputs.pairs)
        loss = replace(loss, pair=settings.pair_weight * difference)
    if inputs.mixed is not None:
        mixed = inputs.mixed
        divergence = soft_targets_kl(mixed.student, mixed.teacher, settings.temperature)
        loss = replace(loss, interpolation=settings.interpolation_weight * divergence)
    if inputs.recombined is not None:
        soft = inputs.recombined
        divergence = soft_targets_kl(soft.student, soft.teacher, settings.temperature)
        term = settings.kl_weight * divergence
        if soft.layers:
            term = term + settings.layer_weight * layer_mse(soft.layers)
        loss = replace(loss, recombined=term)
    return loss
