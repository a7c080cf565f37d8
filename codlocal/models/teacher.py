"""The teacher of a run: which model it is, and how later stages load it."""

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from codlocal.core import hashing, paths
from codlocal.core.errors import ModelError, RunError
from codlocal.core.records import Row
from codlocal.core.run import RunFolder
from codlocal.core.sections import Quantization
from codlocal.models.folders import model_hash
from codlocal.models.locate import read_json
from codlocal.models.trainable import is_decoder

if TYPE_CHECKING:
    from codlocal.models.classifier import Classifier

TEACHER_FILE = "teacher.json"


class TeacherRecord(Row):
    """The teacher of a run. `trained` tells one fine-tuned here from one used as it was.

    `sha256` is that of the folder, and `quantization` is how its weights are loaded.
    """

    path: str
    trained: bool
    base: str
    sha256: str
    labels: tuple[str, ...]
    quantization: Quantization = "none"

    @property
    def folder(self) -> Path:
        """Where the teacher is; one that was fine-tuned here has moved with its store."""
        recorded = Path(self.path)
        if self.trained and not recorded.is_dir():
            return paths.teachers() / recorded.name
        return recorded

    @property
    def identity(self) -> str:
        """What its outputs are kept by: in 4 bits it is another teacher."""
        if self.quantization == "none":
            return self.sha256
        return hashing.of_value([self.sha256, self.quantization])


def read_teacher(run: RunFolder) -> TeacherRecord:
    """The teacher's record.

    Raises:
        RunError: the teacher stage has not run, or its file is missing or damaged.

    """
    path = run.file(TEACHER_FILE)
    if not path.is_file():
        if run.is_done("teacher"):
            raise RunError(f"{path} is missing.", "Restore it from a copy, or add --redo teacher.")
        raise RunError(f"{run.path} has no teacher yet.", "Run its teacher stage first.")
    try:
        return TeacherRecord.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise RunError(f"{path} is damaged.", "Add --redo teacher.") from error


def check_teacher(record: TeacherRecord) -> None:
    """Make sure that a teacher is there at all.

    Raises:
        ModelError: it is gone.

    """
    if not record.folder.is_dir():
        raise _lost(record, "is gone")


def _lost(record: TeacherRecord, what: str) -> ModelError:
    return ModelError(
        f"The teacher {record.path} {what}.",
        "Put it back. --redo teacher takes a new one, and writes new counterfactuals for it.",
    )


def _number_format(record: TeacherRecord, wanted: str) -> str:
    """That of the settings, but for encoders: small as they are, they say more in float32.

    What a word is worth is the difference of two logits, which bfloat16 rounds by .01 and more.
    """
    family = str(read_json(record.folder / "config.json").get("model_type"))
    exact = record.quantization == "none" and not is_decoder(family)
    return "float32" if exact else wanted


def load_teacher(run: RunFolder) -> "Classifier":
    """Load the run's teacher, and make sure that it is still the one the run began with.

    Raises:
        RunError: the teacher stage has not run, or its file is missing or damaged.
        ModelError: the model is gone or was changed.

    """
    from codlocal.models.classifier import Classifier

    record = read_teacher(run)
    check_teacher(record)
    if model_hash(record.folder) != record.sha256:
        raise _lost(record, "was changed since the run began")
    return Classifier.load(
        record.folder,
        device=run.config.runtime.device,
        dtype=_number_format(record, run.config.runtime.dtype),
        max_length=run.config.teacher.max_length,
        label_names=record.labels,
        quantization=record.quantization,
    )
