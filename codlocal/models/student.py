"""A trained student, as the settings of its run would have it loaded."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from codlocal.core.config import Config

if TYPE_CHECKING:
    from codlocal.models.classifier import Classifier


def load_student(config: Config, folder: Path, label_names: Sequence[str]) -> "Classifier":
    """Load a student; its columns follow the order of `label_names`.

    Raises:
        ModelError: the folder holds no classifier, or one with other labels.
        DeviceError: the device is not there.

    """
    from codlocal.models.classifier import Classifier

    return Classifier.load(
        folder,
        device=config.runtime.device,
        dtype=config.runtime.dtype,
        max_length=config.distillation.max_length,
        label_names=label_names,
    )
