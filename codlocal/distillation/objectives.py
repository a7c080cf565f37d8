"""Distillation objectives as pure functions of tensors.

A method is one entry of `OBJECTIVES`; what it needs beside the logits becomes a field of
`ObjectiveInputs`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch.nn import functional

from codlocal.core.config import DistillationConfig
from codlocal.core.records import LossTerms


@dataclass(frozen=True)
class ObjectiveInputs:
    """What an objective is computed from, for a batch of n texts and c classes.

    Attributes:
        student_logits: float [n, c], with gradient.
        teacher_logits: float [n, c]; no gradient reaches it.
        labels: int64 [n], the hard labels.

    """

    student_logits: torch.Tensor
    teacher_logits: torch.Tensor
    labels: torch.Tensor


@dataclass(frozen=True)
class LossTensors:
    """The terms of a loss, scalars already multiplied by their weights; `total` is their sum."""

    task: torch.Tensor
    kl: torch.Tensor
    total: torch.Tensor

    def to_terms(self) -> LossTerms:
        """The terms as plain numbers."""
        return LossTerms(task=self.task.item(), kl=self.kl.item(), total=self.total.item())


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


def task_loss(student_logits: torch.Tensor, labels: torch.Tensor) -> LossTensors:
    """Plain fine-tuning: cross-entropy alone. Shapes as in `hard_label_ce`."""
    task = hard_label_ce(student_logits, labels)
    return LossTensors(task=task, kl=torch.zeros_like(task), total=task)


def kd_loss(inputs: ObjectiveInputs, settings: DistillationConfig) -> LossTensors:
    """CE(student, hard label) + kl_weight * KL(teacher || student, T) * T^2 (arXiv 2510.21631)."""
    task = hard_label_ce(inputs.student_logits, inputs.labels)
    divergence = soft_targets_kl(inputs.student_logits, inputs.teacher_logits, settings.temperature)
    kl = settings.kl_weight * divergence
    return LossTensors(task=task, kl=kl, total=task + kl)


Objective = Callable[[ObjectiveInputs, DistillationConfig], LossTensors]

OBJECTIVES: Mapping[str, Objective] = {"kd": kd_loss}


def distillation_loss(inputs: ObjectiveInputs, settings: DistillationConfig) -> LossTensors:
    """The loss of the configured method for one batch."""
    return OBJECTIVES[settings.method](inputs, settings)
