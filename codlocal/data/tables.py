"""Labelled texts as they come out of a source, before labels are numbered and rows are cleaned."""

import math
from dataclasses import dataclass
from typing import Any

from codlocal.core.errors import DataError


@dataclass(frozen=True)
class RawSplit:
    """One split as its source has it: three columns of equal length, in the source's order.

    Attributes:
        rows: the row numbers in the source, counted from 0.
        texts: the texts, exactly as in the source; None where there is none.
        labels: the labels as words; None where there is none.
        label_names: the class names in order, if the source gives them.
        left_out: rows that a rule of the dataset itself leaves out (length, neutral labels).

    """

    rows: list[int]
    texts: list[str | None]
    labels: list[str | None]
    label_names: tuple[str, ...] | None = None
    left_out: int = 0


def make_split(
    texts: list[Any],
    labels: list[Any],
    where: str,
    class_names: tuple[str, ...] | None = None,
) -> RawSplit:
    """Check two columns of equal length and turn every label into a word.

    Args:
        texts: strings or None.
        labels: strings, numbers, booleans or None; class indices if `class_names` is given.
        where: what to call the source in an error.
        class_names: the names of the class indices; a negative index is a missing label.

    Raises:
        DataError: a text is no string, or a label is no single value.

    """
    for row, text in enumerate(texts):
        _check_text(text, f"{where}, row {row + 1}")
    if class_names is None:
        words = [_label_word(label, f"{where}, row {row + 1}") for row, label in enumerate(labels)]
    else:
        for name in class_names:
            _check_characters(name, f"{where}: a class name")
        words = [_class_word(label, class_names, where) for label in labels]
    return RawSplit(list(range(len(texts))), texts, words, class_names)


def _check_text(text: object, where: str) -> None:
    if text is None:
        return
    if not isinstance(text, str):
        raise DataError(
            f"{where}: the text is of type {type(text).__name__}, not a string.",
            "Choose the right column with --text-column NAME.",
        )
    _check_characters(text, f"{where}: the text")


def _check_characters(words: str, what: str) -> None:
    try:
        words.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{what} has half of a surrogate pair, which is no character.",
            "Save the file again as UTF-8.",
        ) from error


def _class_word(label: int | None, names: tuple[str, ...], where: str) -> str | None:
    if label is None or label < 0:
        return None
    if label >= len(names):
        raise DataError(
            f"{where} has the label {label}, but only {len(names)} class names.",
            "Correct the label, or the names in the file's metadata.",
        )
    return names[label]


def _label_word(label: object, where: str) -> str | None:
    match label:
        case None:
            return None
        case bool():
            return str(label).lower()
        case float():
            if math.isnan(label):
                return None
            return str(int(label)) if label.is_integer() else str(label)
        case str():
            _check_characters(label, f"{where}: the label")
            return label.strip() or None
        case int():
            return str(label)
    raise DataError(
        f"{where}: the label is of type {type(label).__name__}, not one string or number.",
        "codlocal needs exactly one label for each text.",
    )
