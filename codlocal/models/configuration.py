"""What a model folder says of itself, read without torch; what is wrong with it has a name."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError

from codlocal.core.errors import ModelError
from codlocal.core.foreign import first_line
from codlocal.models.labels import names_of
from codlocal.models.quiet import silence_libraries

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

CLASSIFIER = (
    "classifier",
    "The folder may be damaged, made for a newer transformers, or need a package that the message "
    "names.",
)
"""What a folder is to be loaded as, and the hint where it can't be."""

_DAMAGE = (
    OSError, ValueError, LookupError, RuntimeError, ImportError, TypeError, AttributeError,
    ArithmeticError, AssertionError, SafetensorError, StrictDataclassError,
)  # fmt: skip
"""What transformers and what it reads with raise for damaged or foreign folders."""


@contextmanager
def named_errors(path: Path, what: str, hint: str) -> Iterator[None]:
    """Tell of whatever transformers raises for a folder as one that can't be loaded as `what`."""
    try:
        yield
    except _DAMAGE as error:
        raise ModelError(
            f"{path} can't be loaded as a {what}: {first_line(error)}", hint
        ) from error


def read_configuration(path: Path) -> "PreTrainedConfig":
    """The configuration of a model folder, by whose common names all families can be asked.

    Raises:
        ModelError: it can't be read.

    """
    from transformers import AutoConfig

    silence_libraries()
    with named_errors(path, *CLASSIFIER):
        found: PreTrainedConfig = AutoConfig.from_pretrained(
            path, trust_remote_code=False, local_files_only=True
        )
    return found


def read_label_names(path: Path) -> tuple[str, ...]:
    """The label names of a model folder, in class order, without loading its weights.

    Raises:
        ModelError: the configuration can't be read.

    """
    return names_of(read_configuration(path).id2label)
