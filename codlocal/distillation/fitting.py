"""A model, a set of texts and a loss, brought together in the training loop."""

from collections.abc import Callable
from pathlib import Path

import torch

from codlocal.core.console import Task
from codlocal.core.records import LossTerms
from codlocal.core.sections import RuntimeConfig
from codlocal.distillation.batches import pair_batches
from codlocal.distillation.composition import TrainingSet
from codlocal.distillation.loop import LoopSettings, StepLoss, StepRecord, train
from codlocal.distillation.objectives import LossTensors
from codlocal.models.classifier import Classifier

LogitsLoss = Callable[[torch.Tensor, list[int]], LossTensors]
"""From the logits of a batch, float [n, classes], and the positions of its n texts to a loss."""


def logits_step(classifier: Classifier, training_set: TrainingSet, loss: LogitsLoss) -> StepLoss:
    """The step of a training that needs the logits alone."""
    rows = classifier.encoder.encode([text.text for text in training_set.texts])

    def step_loss(model: torch.nn.Module, batch: list[int]) -> LossTensors:
        inputs = classifier.encoder.collate([rows[index] for index in batch], classifier.device)
        return loss(model(**inputs).logits, batch)

    return step_loss


def fit(
    model: torch.nn.Module,
    step_loss: StepLoss,
    training_set: TrainingSet,
    settings: LoopSettings,
    runtime: RuntimeConfig,
    folder: Path,
    task: Task,
) -> LossTerms:
    """Train a model in place and show it on `task`; return the loss of the last step.

    `folder` gets the training log and the checkpoints.

    Raises:
        ModelError: the loss is not finite.

    """

    def on_step(record: StepRecord) -> None:
        task.note(loss=f"{record.total:.3f}")
        task.advance(record.step - task.completed)

    batches = pair_batches(training_set.groups, settings.batch_size, settings.steps, settings.seed)
    return train(model, step_loss, batches, settings, runtime, folder, on_step)
