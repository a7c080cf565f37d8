"""What a student was made of: the record beside its weights."""

from pathlib import Path

from pydantic import ValidationError

from codlocal.core.errors import RunError
from codlocal.core.records import LossTerms, Row
from codlocal.models.adapters import QuantizationLoss

RECORD_FILE = "codlocal.json"


class StudentRecord(Row):
    """What a student was made of; lies beside its weights.

    `pairs`, `singles` and `fill` count the groups of its texts (see `composition`);
    `max_length` is the number of tokens it reads of a text. `base` is the model whose layers it
    was made of, as the settings name it: with `init` "teacher", the teacher.
    """

    arm: str
    seed: int
    texts: int
    pairs: int
    singles: int
    fill: int
    base: str
    init: str
    layers: int
    warm_start: str
    teacher_share: float = 0.0
    teacher_sha256: str
    method: str
    steps: int
    max_length: int
    final_loss: LossTerms
    quantization: QuantizationLoss | None = None


def read_student(folder: Path) -> StudentRecord:
    """The record of a finished student.

    Raises:
        RunError: it is damaged, or of another version.

    """
    path = folder / RECORD_FILE
    try:
        return StudentRecord.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise RunError(
            f"{path} is damaged, or of another version.", "Add --redo distill to train it again."
        ) from error


def is_finished(folder: Path) -> bool:
    """Whether a student is there with its record and with weights that are whole."""
    from safetensors import SafetensorError, safe_open

    weights = list(folder.glob("*.safetensors"))
    try:
        for path in weights:
            with safe_open(path, "pt"):
                pass
    except (OSError, SafetensorError):
        return False
    return bool(weights) and folder.joinpath(RECORD_FILE).is_file()
