"""A contrastive start: features of one label are drawn together before a head is put on them.

As in SetFit (Tunstall et al., 2022, arXiv 2209.11055), two texts are to have a cosine similarity of
1 if their labels are equal, and of 0 if not. An original and its counterfactual share their
mini-batch, as they always do: there is no harder pair of unlike texts.
"""

import torch
from torch.nn import functional

from codlocal.distillation.composition import TrainingSet
from codlocal.distillation.loop import StepLoss
from codlocal.distillation.objectives import LossTensors
from codlocal.distillation.warm_start import features
from codlocal.models.classifier import Classifier


def cosine_pair_loss(features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Squared error of the cosine similarities of all pairs of a batch.

    Like and unlike pairs weigh the same, however many there are of each.

    Args:
        features: float [n, width].
        labels: int64 [n].

    Returns:
        A scalar in 0..4; 0 where there is no pair.

    """
    directions = functional.normalize(features.float(), dim=-1)
    first, second = torch.triu_indices(len(labels), len(labels), offset=1, device=labels.device)
    cosines = (directions[first] * directions[second]).sum(dim=-1)
    alike = labels[first] == labels[second]
    errors = [
        (cosines[kind] - goal).square().mean()
        for kind, goal in ((alike, 1.0), (~alike, 0.0))
        if kind.any()
    ]
    return torch.stack(errors).mean() if errors else features.sum() * 0.0


def contrastive_step(
    student: Classifier, training_set: TrainingSet, labels: torch.Tensor
) -> StepLoss:
    """The step of a contrastive training on n texts with hard labels, int64 [n]."""
    rows = student.encoder.encode([text.text for text in training_set.texts])

    def step_loss(model: torch.nn.Module, batch: list[int]) -> LossTensors:
        inputs = student.encoder.collate([rows[index] for index in batch], student.device)
        return LossTensors(cosine_pair_loss(features(student, model, inputs), labels[batch]))

    return step_loss
