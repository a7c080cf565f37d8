"""A classifier's labels beside those of the data."""

import re
from collections.abc import Mapping, Sequence

from codlocal.core.errors import ModelError

_GENERIC = re.compile(r"label_\d+", re.IGNORECASE)


def names_of(id2label: Mapping[int, object] | Mapping[str, object] | None) -> tuple[str, ...]:
    """The label names of a configuration, in class order; names that are numbers become words.

    Raises:
        ModelError: it doesn't name class indices.

    """
    try:
        by_index = {int(index): str(name) for index, name in (id2label or {}).items()}
    except (ValueError, AttributeError) as error:
        raise ModelError(
            f"The model's id2label doesn't give names to class indices: {id2label}.",
            'In its config.json it has to be of the form {"0": "negative", "1": "positive"}.',
        ) from error
    return tuple(by_index[index] for index in sorted(by_index))


def are_generic(names: Sequence[str]) -> bool:
    """Whether a model's labels are but numbered: LABEL_0, ..."""
    return all(_GENERIC.fullmatch(name) for name in names)


def column_order(model_names: Sequence[str], data_names: Sequence[str]) -> list[int]:
    """For each label of the data, the class index the model gives it.

    Names are matched exactly, or else whatever their case. Where they don't match, a model with
    generic names (LABEL_0, ...) is taken to have the data's order.

    Raises:
        ModelError: the numbers of labels differ, or a label has no class of its name alone.

    """
    if len(model_names) != len(data_names):
        raise ModelError(
            f"The model has {len(model_names)} labels, the data {len(data_names)}: "
            f"{_join(model_names)} against {_join(data_names)}.",
            "Choose a model made for these labels, or one without a head, which is fine-tuned.",
        )
    classes: dict[str, int] = {}
    for spelled in (str, str.casefold):
        classes = {spelled(name): index for index, name in enumerate(model_names)}
        found = [classes[spelled(name)] for name in data_names if spelled(name) in classes]
        if len(set(found)) == len(data_names):
            return found
    if are_generic(model_names):
        return list(range(len(data_names)))
    missing = [name for name in data_names if name.casefold() not in classes]
    missing = missing or [name for name in data_names if name not in model_names]
    raise ModelError(
        f"The model has no label named {_join(missing)}; its labels are {_join(model_names)}.",
        "Name the labels of your own data as the model does: where they are numbers with --set "
        "dataset.label_names='[...]', one name for each, the lowest one first; where they are "
        "words, in the data itself. For a named dataset choose another model, or one without a "
        "head, which is fine-tuned.",
    )


def _join(names: Sequence[str]) -> str:
    return ", ".join(names)
