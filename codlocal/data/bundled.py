"""The small free datasets inside the package; see `bundled/ATTRIBUTION.md`."""

import json
from importlib import resources

from codlocal.core.errors import DataError
from codlocal.data.cleaning import LoadedData, Origin, assemble
from codlocal.data.registry import REGISTRY, DatasetEntry
from codlocal.data.tables import RawSplit, make_split

ATTRIBUTION = "UCI Sentiment Labelled Sentences (Kotzias et al. 2015), CC BY 4.0"


def load_bundled(entry: DatasetEntry) -> LoadedData:
    """Load the bundled stand-in of a dataset; its validation split is not read.

    Raises:
        DataError: the dataset has none.

    """
    if entry.bundled is None:
        having = ", ".join(name for name, other in REGISTRY.items() if other.bundled)
        raise DataError(
            f"No copy of {entry.name} comes with codlocal.",
            f"Bundled are {having}. For the others use --source hub or --data FILE.",
        )
    train, test = (_read(entry, split) for split in ("train", "test"))
    origin = Origin(
        name=entry.name,
        source="bundled",
        location=f"codlocal/data/bundled/{entry.bundled}",
        attribution=ATTRIBUTION,
        task=entry.task,
    )
    return assemble(origin, train, test)


def _read(entry: DatasetEntry, split: str) -> RawSplit:
    folder = resources.files("codlocal.data") / "bundled" / str(entry.bundled)
    content = (folder / f"{split}.jsonl").read_text("utf-8")
    rows = [json.loads(line) for line in content.split("\n") if line]
    texts, labels = [row["text"] for row in rows], [row["label"] for row in rows]
    return make_split(texts, labels, f"bundled {entry.name}", entry.label_names)
