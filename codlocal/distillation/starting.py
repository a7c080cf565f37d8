"""How a student starts: which layers it is made of, and whether its head is fitted first."""

from pathlib import Path

from codlocal.core.config import Config
from codlocal.core.errors import ModelError
from codlocal.models.classifier import Classifier
from codlocal.models.initialise import new_classifier, shortened_classifier
from codlocal.models.locate import check_folder, read_json


def starting_folder(config: Config, student: Path, teacher: Path) -> Path:
    """The model folder that students are made of: the student's own, or the teacher's.

    Raises:
        ModelError: the student is to be made of a teacher of another family.

    """
    if config.distillation.student_init == "pretrained":
        return student
    for folder in (student, teacher):
        check_folder(folder)
    families = [str(_model_type(folder)) for folder in (student, teacher)]
    if families[0] != families[1]:
        raise ModelError(
            f"A {families[0]} student can't be made of the layers of a {families[1]} teacher.",
            f"Use --student {config.teacher.model}, or --student-init pretrained.",
        )
    return teacher


def _model_type(folder: Path) -> object:
    return read_json(folder / "config.json").get("model_type")


def start_student(config: Config, folder: Path, labels: tuple[str, ...], seed: int) -> Classifier:
    """Make the untrained student of a seed from `starting_folder`.

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
