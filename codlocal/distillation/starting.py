"""How a student starts: of whose layers it is made, and of how many."""

from collections.abc import Sequence
from pathlib import Path

import torch

from codlocal.core.config import Config
from codlocal.core.console import Console
from codlocal.core.sections import DistillationConfig
from codlocal.models.classifier import Classifier
from codlocal.models.configuration import read_configuration
from codlocal.models.initialise import new_classifier, shortened_classifier
from codlocal.models.labels import names_of
from codlocal.models.locate import check_folder, resolve
from codlocal.models.trainable import is_decoder, layers_of, refuse_other_family

_SHAPE = ("model_type", "num_hidden_layers", "hidden_size", "vocab_size", "quantization_config")
"""What the configurations of two folders of one model have in common, whatever their heads."""
_HALF_WAY = 0.5
"""How far students of the teacher's layers go back once trained, where they do by default."""
_TWO_CLASSES = 2


def find_start(config: Config, teacher: Path, console: Console) -> tuple[Config, Path]:
    """Get the model that the student is named by, and decide its start (`decided_start`).

    Raises:
        ModelError: the model can't be had, or is of another family than a teacher that the student
            is to be made of.

    """
    student = resolve(config.distillation.student, console=console, offline=config.runtime.offline)
    return decided_start(config, student, teacher)


def decided_start(config: Config, student: Path, teacher: Path) -> tuple[Config, Path]:
    """The settings with their start decided, and the model folder that students are made of.

    That is the student's own or the teacher's. Of "auto" nothing is left.

    Raises:
        ModelError: the student is to be made of a teacher of another family.

    """
    init = config.distillation.student_init
    if init == "auto":
        init = "teacher" if _gains_nothing_pretrained(config, student, teacher) else "pretrained"
    elif init == "teacher":
        refuse_other_family(student, teacher, config.teacher.model)
    base = teacher if init == "teacher" else student
    decided = {"student_init": init, "warm_start": _warm_start(config, base, init)}
    settings = config.distillation.model_copy(update=decided)
    settings = settings.model_copy(update={"teacher_share": _teacher_share(settings, base)})
    return config.model_copy(update={"distillation": settings}), base


def _warm_start(config: Config, base: Path, init: str) -> str:
    """A new head of a decoder is fitted first, and so is the teacher's on fewer layers.

    Few texts don't bring a decoder to its features from a head drawn at random; a logistic
    regression finds them at once.
    """
    settings = config.distillation
    if settings.warm_start != "auto":
        return settings.warm_start
    whole = init == "teacher" and settings.student_layers == layers_of(base)
    return "head" if is_decoder(str(_shape(base)["model_type"])) and not whole else "none"


def _teacher_share(settings: DistillationConfig, base: Path) -> float:
    """How far a trained student goes back: nowhere but from a start that knows the task.

    There, weights between start and end of the training generalise better than those that followed
    a few texts (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models"); of many classes
    each has fewer still. Adapters are not mixed.
    """
    if settings.student_init != "teacher" or settings.quantization != "none":
        return 0.0
    if settings.teacher_share is None:
        classes = names_of(read_configuration(base).id2label)
        few_texts = settings.warm_start == "head" or len(classes) > _TWO_CLASSES
        return _HALF_WAY if few_texts else 0.0
    return settings.teacher_share


def _gains_nothing_pretrained(config: Config, student: Path, teacher: Path) -> bool:
    """Whether the teacher's layers make a student of the same size that knows more.

    A warm start, or a pooling of its own, is for a student with a new head.
    """
    settings = config.distillation
    new_head = settings.pooling or settings.warm_start not in {"auto", "none"}
    if settings.student_layers is None or new_head:
        return False
    return _shape(student) == _shape(teacher)


def _shape(folder: Path) -> dict[str, object]:
    check_folder(folder)
    configuration = read_configuration(folder)
    return {name: getattr(configuration, name, None) for name in _SHAPE}


def start_student(config: Config, folder: Path, labels: tuple[str, ...], seed: int) -> Classifier:
    """Make the untrained student of a seed from the folder of its `decided_start`.

    Raises:
        ModelError: the folder can't be loaded, or has fewer layers than asked for.

    """
    settings, device = config.distillation, config.runtime.device
    layers, length = settings.student_layers, settings.max_length
    if settings.student_init == "teacher":
        return shortened_classifier(folder, labels, layers=layers, device=device, max_length=length)
    return new_classifier(
        folder,
        labels,
        layers=layers,
        pooling=settings.pooling,
        seed=seed,
        device=device,
        max_length=length,
    )


def kept_start(student: Classifier, settings: DistillationConfig) -> list[torch.Tensor]:
    """Copies of the parameters that a student is to go back toward when it is trained; often none.

    The settings are those of a `decided_start`.
    """
    if not settings.teacher_share:
        return []
    return [one.detach().clone() for one in student.model.parameters()]


def go_back_toward_start(
    student: Classifier, start: Sequence[torch.Tensor], settings: DistillationConfig
) -> None:
    """Mix a trained student, in place, with its `kept_start`."""
    if start and settings.teacher_share:
        with torch.no_grad():
            for own, old in zip(student.model.parameters(), start, strict=True):
                own.lerp_(old, settings.teacher_share)
