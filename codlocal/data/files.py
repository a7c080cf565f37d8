"""`--data`: one file, a folder with train and test files, or a saved Hugging Face dataset."""

import difflib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from codlocal.core.errors import DataError
from codlocal.core.sections import DatasetConfig
from codlocal.data.cleaning import LoadedData, Origin, assemble
from codlocal.data.formats import (
    READERS,
    Columns,
    class_names,
    read_file,
    require_columns,
)
from codlocal.data.tables import RawSplit, make_split

if TYPE_CHECKING:
    from datasets import Dataset


_VALIDATION = {"validation", "valid", "val", "dev"}


def refuse_missing(path: Path) -> None:
    """Refuse a path of data at which nothing is, or a pipe or a device, which are read but once.

    Raises:
        DataError: that is so; the hint has names like it.

    """
    if not path.exists():
        raise DataError(f"There is no file or folder {path}.", _nearest_files(path))
    if not (path.is_file() or path.is_dir()):
        raise DataError(
            f"{path} is neither a file nor a folder.", "Write the data into a file, and give that."
        )


def _nearest_files(path: Path) -> str:
    """A hint for a missing file: the most similar names beside it."""
    folder = path.parent
    if not folder.is_dir():
        return f"There is no folder {folder} either."
    names = sorted(entry.name for entry in folder.iterdir())
    near = difflib.get_close_matches(path.name, names, n=3)
    return f"Did you mean {' or '.join(near)}?" if near else f"{folder} holds no similar name."


def load_path(config: DatasetConfig, path: Path) -> LoadedData:
    """Load the user's own data; without a test split, 30 % of the rows are held out for it.

    Raises:
        DataError: there is no such data, or it can't be used as labelled texts.

    """
    try:
        return _load_path(config, path)
    except OSError as error:
        raise DataError(
            f"{path} can't be read: {error.strerror or error}.", "Check its permissions."
        ) from error


def _load_path(config: DatasetConfig, path: Path) -> LoadedData:
    refuse_missing(path)
    columns = (config.text_column, config.label_column)
    unread: list[str] = []
    if path.is_dir():
        train, test = _read_folder(path, columns)
        unread = sorted({one.stem for one in path.iterdir()} & _VALIDATION)
    else:
        train, test = read_file(path, columns), None
    origin = Origin(name=path.resolve().stem, source="file", location=str(path))
    return replace(assemble(origin, train, test, config.label_names), unread=unread)


def _read_folder(folder: Path, columns: Columns) -> tuple[RawSplit, RawSplit | None]:
    if any((folder / name).is_file() for name in ("dataset_dict.json", "state.json")):
        return _read_saved(folder, columns)
    train, test = _one_file(folder, "train"), _one_file(folder, "test")
    if train is None:
        raise DataError(
            f"{folder} has no train file.",
            f"It needs train.* and may have test.* ({', '.join(READERS)}), "
            "or must be a dataset saved by `save_to_disk`.",
        )
    return read_file(train, columns), None if test is None else read_file(test, columns)


def _one_file(folder: Path, split: str) -> Path | None:
    found = sorted(
        entry
        for entry in folder.iterdir()
        if entry.stem.lower() == split and entry.suffix.lower() in READERS
    )
    if len(found) > 1:
        raise DataError(
            f"{folder} has more than one {split} file: {', '.join(it.name for it in found)}.",
            "Leave one of them, or name it with --data FILE.",
        )
    return found[0] if found else None


def _read_saved(folder: Path, columns: Columns) -> tuple[RawSplit, RawSplit | None]:
    import pyarrow as pa
    from datasets import Dataset, load_from_disk

    try:
        saved = load_from_disk(str(folder))
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise DataError(
            f"{folder} is not a readable saved dataset: {error}.",
            "Save it again with `save_to_disk`.",
        ) from error
    if isinstance(saved, Dataset):
        return _saved_split(saved, columns, str(folder)), None
    if "train" not in saved:
        raise DataError(f"{folder} has no train split.", f"Its splits: {', '.join(saved)}.")
    train = _saved_split(saved["train"], columns, f"{folder}/train")
    if "test" not in saved:
        return train, None
    return train, _saved_split(saved["test"], columns, f"{folder}/test")


def _saved_split(table: "Dataset", columns: Columns, where: str) -> RawSplit:
    require_columns(table.column_names, columns, where)
    plain = table.with_format(None)  # a saved format would make tensors of labels, or hide columns
    texts, labels = (list(plain[name]) for name in columns)
    return make_split(texts, labels, where, class_names(table.features, columns[1]))
