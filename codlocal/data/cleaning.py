"""From raw splits to numbered, de-duplicated examples: what is left out is counted by reason.

Every source goes through `assemble`, so a text is never in both train and test, whatever
served it. The test split only loses rows without text or label: published test sets stay
comparable.
"""

import difflib
import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from unicodedata import category

from codlocal.core import hashing
from codlocal.core.errors import DataError
from codlocal.core.records import DatasetSpec, Example
from codlocal.core.texts import normalised
from codlocal.data.tables import RawSplit

MAX_CLASSES = 1000
HELD_OUT = 0.3
"""The share of each class that becomes the test split of data without one."""


@dataclass(frozen=True)
class Origin:
    """Where data came from; the fields are those of `DatasetSpec`."""

    name: str
    source: Literal["bundled", "cache", "hub", "file"]
    location: str
    attribution: str = ""
    task: str = "generic"


@dataclass(frozen=True)
class LoadedData:
    """A dataset ready for use, and how many rows were dropped for which reason.

    `held_out` says whether the test texts are a part of the training rows, and `unread` which
    splits were left alone.
    """

    spec: DatasetSpec
    train: list[Example]
    test: list[Example]
    dropped: Mapping[str, int]
    held_out: bool = False
    unread: Sequence[str] = ()


def assemble(
    origin: Origin, train: RawSplit, test: RawSplit | None, wanted: Sequence[str] | None = None
) -> LoadedData:
    """Number the labels, clean both splits, and describe the result.

    Args:
        origin: where the splits came from.
        train: the training rows.
        test: the test rows, or None to hold out 30 % of the training rows.
        wanted: the class names in the user's order, or None.

    Raises:
        DataError: the labels make no classification task, or a split is empty.

    """
    splits = [train] if test is None else [train, test]
    found = {label for split in splits for label in split.labels if label is not None}
    names, index = number_labels(found, wanted, train.label_names, origin.location)
    dropped: Counter[str] = Counter()
    kept = _examples("train", train, index, dropped)
    if test is None:
        train_rows, test_rows = hold_out(_without_repeats(kept, dropped))
    else:
        test_rows = _examples("test", test, index, dropped)
        tested = {normalised(example.text) for example in test_rows}
        fresh = [example for example in kept if normalised(example.text) not in tested]
        dropped["also in test"] += len(kept) - len(fresh)
        train_rows = _without_repeats(fresh, dropped)
    _refuse_unusable(train_rows, test_rows, names, origin.location)
    spec = DatasetSpec(
        **vars(origin),
        label_names=names,
        train_rows=len(train_rows),
        test_rows=len(test_rows),
        dropped_rows=dropped.total(),
        sha256=fingerprint(names, train_rows, test_rows),
    )
    counts = {reason: count for reason, count in dropped.items() if count}
    return LoadedData(spec, train_rows, test_rows, counts, held_out=test is None)


def number_labels(
    found: set[str],
    wanted: Sequence[str] | None,
    given: Sequence[str] | None,
    where: str,
) -> tuple[tuple[str, ...], dict[str, int]]:
    """The class names in order, and the class index of each label that occurs.

    The order is the user's (`wanted`), else the source's (`given`), else sorted: by value if
    every label is a whole number. With the user's names, labels may be names or indices, or as
    many other whole numbers as there are names, the lowest one first.

    Raises:
        DataError: too few or too many classes, or labels that the user's names don't cover.

    """
    if len(found) < 2:
        only = f"only the label {next(iter(found))!r}" if found else "no labels at all"
        raise DataError(f"{where} has {only}.", "A classifier needs at least two classes.")
    if len(found) > MAX_CLASSES:
        raise DataError(
            f"{where} has {len(found)} different labels, more than {MAX_CLASSES}.",
            "That looks like numbers or ids, not classes: "
            "choose the column with --label-column NAME.",
        )
    names = tuple(wanted or given or _sorted_labels(found))
    if len(set(names)) < max(len(names), 2):
        raise DataError(
            f"The label names {', '.join(names)} are not two or more different names.",
            "Correct dataset.label_names.",
        )
    index = {name: number for number, name in enumerate(names)}
    if found <= index.keys():
        return names, index
    by_number = {str(number): number for number in range(len(names))}
    if found <= by_number.keys():
        return names, by_number
    if wanted and len(found) == len(names) and _are_numbers(found):
        return names, {label: at for at, label in enumerate(_sorted_labels(found))}
    raise _unknown_labels(found, names, where)


def _are_numbers(labels: Collection[str]) -> bool:
    """Whether all labels are whole numbers, and no two of them the same one."""
    if not all(re.fullmatch(r"[+-]?[0-9]{1,99}(\.0+)?", label) for label in labels):
        return False
    return len(set(map(_number, labels))) == len(labels)


def _number(label: str) -> int:
    return int(label.partition(".")[0])  # 1.0 is what pandas makes of a 1 in a column with gaps


def _sorted_labels(found: Collection[str]) -> list[str]:
    if _are_numbers(found):
        return sorted(found, key=_number)
    return sorted(found)


def _unknown_labels(found: set[str], names: Sequence[str], where: str) -> DataError:
    unknown = _sorted_labels(found - set(names))
    shown = ", ".join(repr(label) for label in unknown[:5])
    near = difflib.get_close_matches(unknown[0], names, n=1)
    guess = f" Did you mean {near[0]!r} by {unknown[0]!r}?" if near else ""
    return DataError(
        f"{where} has labels that are not among the label names: {shown}.",
        f"Label names: {', '.join(names)}.{guess} dataset.label_names names labels that "
        "are numbers, one name for each, the lowest one first. Labels that are words keep their "
        "own names: leave it out, or write other words into the data.",
    )


def _examples(
    split: str, raw: RawSplit, index: Mapping[str, int], dropped: Counter[str]
) -> list[Example]:
    examples: list[Example] = []
    dropped["left out by the dataset's rule"] += raw.left_out
    for row, text, label in zip(raw.rows, raw.texts, raw.labels, strict=True):
        if text is None or not _is_visible(text):
            dropped["without text"] += 1
        elif label is None:
            dropped["without label"] += 1
        else:
            examples.append(Example(id=f"{split}-{row}", text=text, label=index[label]))
    return examples


def _is_visible(text: str) -> bool:
    """Whether a text has more than space and characters that only format."""
    return any(not one.isspace() and category(one) != "Cf" for one in text)


def _without_repeats(examples: Sequence[Example], dropped: Counter[str]) -> list[Example]:
    texts = [normalised(example.text) for example in examples]
    labels: defaultdict[str, set[int]] = defaultdict(set)
    for text, example in zip(texts, examples, strict=True):
        labels[text].add(example.label)
    kept: dict[str, Example] = {}
    for text, example in zip(texts, examples, strict=True):
        if len(labels[text]) > 1:
            dropped["with conflicting labels"] += 1
        elif text in kept:
            dropped["repeated"] += 1
        else:
            kept[text] = example
    return list(kept.values())


def hold_out(examples: Sequence[Example]) -> tuple[list[Example], list[Example]]:
    """Split texts 70/30 within each class, by a hash of the text: always the same test split."""
    classes: defaultdict[int, list[Example]] = defaultdict(list)
    for example in sorted(examples, key=lambda it: hashlib.sha256(it.text.encode()).digest()):
        classes[example.label].append(example)
    tested = {
        example.id for rows in classes.values() for example in rows[: _held_out_of(len(rows))]
    }
    train = [example for example in examples if example.id not in tested]
    test = [
        example.model_copy(update={"id": example.id.replace("train", "test", 1)})
        for example in examples
        if example.id in tested
    ]
    return train, test


def _held_out_of(rows: int) -> int:
    # A class of two or more rows is tested; a single row is needed for training.
    return max(1, round(HELD_OUT * rows)) if rows > 1 else 0


def _refuse_unusable(
    train: Sequence[Example], test: Sequence[Example], names: Sequence[str], where: str
) -> None:
    for split, rows in (("train", train), ("test", test)):
        if not rows:
            raise DataError(
                f"{where}: the {split} split has no usable rows.",
                "Rows need a text and a label; train texts must not all stand in test too; and "
                "without a test file some class needs two texts, of which one is held out.",
            )
    if len({example.label for example in train}) < 2:
        raise DataError(
            f"{where}: all usable training texts have the label {names[train[0].label]!r}.",
            "A classifier needs at least two classes.",
        )


def fingerprint(names: Sequence[str], train: Iterable[Example], test: Iterable[Example]) -> str:
    """SHA-256 over label names, texts and labels: the same rows give it whatever their source."""
    digest = hashlib.sha256(hashing.of_value(list(names)).encode())
    for split, examples in (("train", train), ("test", test)):
        for example in examples:
            digest.update(hashing.of_value([split, example.text, example.label]).encode())
    return digest.hexdigest()
