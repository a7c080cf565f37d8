"""What a model folder must be for a classifier to be made of it, its weights unread."""

from pathlib import Path

from codlocal.core.errors import ModelError
from codlocal.models.configuration import read_configuration
from codlocal.models.locate import check_folder, read_json

_POOLING = {
    "modernbert": {"first": "cls", "mean": "mean"},
    "eurobert": {"first": "bos", "mean": "mean"},
}
"""Families whose configuration has `classifier_pooling`, and their names for both kinds."""


def check_start(path: Path, *, layers: int | None, pooling: str | None) -> None:
    """Refuse now what a classifier made of this folder would be refused for, its weights unread.

    Raises:
        ModelError: the folder is no model, is quantised, has fewer layers, or its family has one
            pooling, or an encoder and a decoder.

    """
    check_folder(path)
    refuse_quantized(path)
    _refuse_two_bodies(path)
    pooling_options(path, pooling)
    refuse_more_layers(layers_of(path), layers)


def refuse_other_family(student: Path, teacher: Path, name: str) -> None:
    """Refuse a student's model of another family than the teacher of whose layers it is to be made.

    `name` is the teacher's in the settings.

    Raises:
        ModelError: that is so.

    """
    families = []
    for folder in (student, teacher):
        check_folder(folder)
        families.append(str(read_json(folder / "config.json").get("model_type")))
    if families[0] != families[1]:
        raise ModelError(
            f"A {families[0]} student can't be made of the layers of a {families[1]} teacher.",
            f"Use --student {name}, or --student-init pretrained.",
        )


def pooling_options(path: Path, pooling: str | None) -> dict[str, str]:
    """How the configuration of a model folder is told to pool.

    Raises:
        ModelError: its family has no such setting, so that an ordinary model folder couldn't keep
            the choice.

    """
    if pooling is None:
        return {}
    family = str(read_json(path / "config.json").get("model_type"))
    if family not in _POOLING:
        raise ModelError(
            f"What the head of a {family} model reads can't be chosen: a model folder of that "
            "family has no place to say so.",
            "Leave distillation.pooling unset, or use a student of one of these families: "
            f"{', '.join(_POOLING)}.",
        )
    return {"classifier_pooling": _POOLING[family][pooling]}


def is_decoder(family: str) -> bool:
    """Whether models of a family write text, so that a classification head reads the last token."""
    from transformers.models.auto import modeling_auto as known

    writes = family in known.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    return writes and family not in known.MODEL_FOR_MASKED_LM_MAPPING_NAMES


def is_quantized(path: Path) -> bool:
    """Whether the weights of a model folder are quantised already."""
    return "quantization_config" in read_json(path / "config.json")


def refuse_quantized(path: Path) -> None:
    """Refuse a folder whose weights can't be trained as they are.

    Raises:
        ModelError: they are quantised.

    """
    if is_quantized(path):
        raise ModelError(
            f"{path} is quantised: a model to be trained must be in full precision.",
            "Give the model that it was made of; --quantization nf4 trains it in 4 bits.",
        )


def _refuse_two_bodies(path: Path) -> None:
    configuration = read_configuration(path)
    if configuration.is_encoder_decoder:
        raise ModelError(
            f"No student can be made of {path}: a {configuration.model_type} model has an encoder "
            "and a decoder.",
            "Choose a model that is either; a teacher may be both.",
        )


def layers_of(path: Path) -> int | None:
    """How many layers a model has; None if its configuration does not say so."""
    count = getattr(read_configuration(path), "num_hidden_layers", None)
    return count if isinstance(count, int) else None


def refuse_more_layers(count: int | None, kept: int | None) -> None:
    """Refuse to keep more layers than there are, as far as both numbers are known.

    Raises:
        ModelError: that is so.

    """
    if count is not None and kept is not None and kept > count:
        raise ModelError(
            f"The model has {count} layers, fewer than the {kept} asked for.",
            f"Use --set distillation.student_layers={count}, or fewer.",
        )
