"""Datasets of the Hugging Face hub, from the network or from the local cache alone.

Code from a repository is never run: only data files are read.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from codlocal.core.foreign import first_line, hub_errors
from codlocal.data.cleaning import LoadedData, Origin, assemble
from codlocal.data.formats import require_columns
from codlocal.data.registry import DatasetEntry
from codlocal.data.tables import RawSplit
from codlocal.models.quiet import silence_libraries

if TYPE_CHECKING:
    from datasets import Dataset, DatasetBuilder

_BATCH = 10_000


class NotAvailableError(Exception):
    """A dataset is not at one source; says why. The caller decides whether to try another."""


def load_cached(entry: DatasetEntry) -> LoadedData:
    """Load a dataset from the local Hugging Face cache without any request to the network.

    Raises:
        NotAvailableError: the cache doesn't hold it.
        DataError: it is there, but not with the columns it should have.

    """
    reasons: list[str] = []
    with _offline():
        for hub_id in entry.hub_ids:
            try:
                return _load(entry, hub_id)
            except NotAvailableError as error:
                uncached = isinstance(error.__cause__, ConnectionError)
                reasons.append(f"{hub_id} is not there" if uncached else str(error))
    raise NotAvailableError(reasons[0])


def load_from_hub(entry: DatasetEntry) -> LoadedData:
    """Load a dataset from the hub. If the library falls back to its cache, the result says so.

    Raises:
        NotAvailableError: the hub can't be reached and nothing is cached.
        DataError: it doesn't have the columns it should have.

    """
    return _load(entry, entry.hub_ids[0])


def _load(entry: DatasetEntry, hub_id: str) -> LoadedData:
    import datasets
    from datasets.exceptions import DatasetsError

    silence_libraries()
    datasets.disable_progress_bars()
    # Its warnings only repeat that the cache is used, which the result says.
    datasets.logging.set_verbosity_error()
    try:
        builder = _builder(hub_id, entry)
        builder.download_and_prepare()
        splits = [builder.as_dataset(split=it) for it in ("train", entry.test_split)]
    # RuntimeError is what the library raises for a repository that is a loading script.
    except (*hub_errors(), RuntimeError, DatasetsError) as error:
        raise NotAvailableError(f"{hub_id}: {first_line(error)}") from error
    train, test = (_select(split, entry, hub_id) for split in splits)
    from_cache = type(builder).__module__.endswith(".cache")
    source: Literal["cache", "hub"] = "cache" if from_cache else "hub"
    origin = Origin(
        name=entry.name,
        source=source,
        location=f"{hub_id} ({builder.config.name}) at {builder.hash or 'unknown revision'}",
        attribution=entry.attribution,
        task=entry.task,
    )
    return assemble(origin, train, test, entry.label_names)


def _builder(hub_id: str, entry: DatasetEntry) -> "DatasetBuilder":
    from datasets import load_dataset_builder

    # A bare name such as "imdb" would also match a folder of the user's.
    path = hub_id if "/" in hub_id else f"hf://datasets/{hub_id}"
    return load_dataset_builder(path, entry.hub_config, revision=entry.revision)


@contextmanager
def _offline() -> Iterator[None]:
    """Forbid requests while the block runs: the library reads the flag from two modules."""
    import datasets
    from huggingface_hub import constants

    before = datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE = before


def _select(table: "Dataset", entry: DatasetEntry, hub_id: str) -> RawSplit:
    """The rows that the entry's rule keeps, read batch by batch so that big sets fit in memory."""
    import pyarrow.compute as pc

    columns = (entry.text_column, entry.label_column)
    require_columns(table.column_names, columns, hub_id)
    kept = RawSplit([], [], [], entry.label_names)
    start = 0
    for batch in table.select_columns(list(columns)).with_format("arrow").iter(_BATCH):
        texts, labels = (batch.column(name) for name in columns)
        lengths = pc.fill_null(pc.utf8_length(texts), 0).to_pylist()
        for at, (length, label) in enumerate(zip(lengths, labels.to_pylist(), strict=True)):
            if label in entry.label_map and length <= (entry.max_characters or length):
                kept.rows.append(start + at)
                kept.texts.append(texts[at].as_py())
                kept.labels.append(entry.label_names[entry.label_map[label]])
        start += batch.num_rows
    return RawSplit(**{**vars(kept), "left_out": start - len(kept.rows)})
