"""The data stage: loads the dataset, draws the few labelled texts, and writes both to the run."""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from codlocal.core import artifacts, jsonl
from codlocal.core.console import Console
from codlocal.core.records import DatasetSpec
from codlocal.core.run import RunFolder
from codlocal.data.cleaning import LoadedData
from codlocal.data.loaders import load
from codlocal.data.sampling import few_shots

_SHOWN_CLASSES = 12


def run_data(run: RunFolder, console: Console) -> None:
    """Fill the run's `data/` folder, unless that was done before.

    Raises:
        DataError: the data is not there, can't be used, or is too little for k.

    """
    if run.is_done("data"):
        return
    config = run.config.dataset
    with run.stage("data") as facts, console.progress("Reading the texts", None) as task:
        loaded = load(config, offline=run.config.runtime.offline)
        spec = loaded.spec
        task.note(train=spec.train_rows, test=spec.test_rows)
        # Drawn before the first file is written: too large a k can then be corrected in this run.
        splits = few_shots(loaded.train, config.k, config.all_seeds, spec.label_names)
        jsonl.write_rows(run.file(*artifacts.TRAIN), loaded.train)
        jsonl.write_rows(run.file(*artifacts.TEST), loaded.test)
        jsonl.write_rows(run.file(*artifacts.FEW_SHOT), splits)
        jsonl.write_json(run.file(*artifacts.SPEC), spec.model_dump(mode="json"))
        facts.update(_facts(spec, loaded.dropped))
    _say(loaded, config.k, console)


def _facts(spec: DatasetSpec, dropped: Mapping[str, int]) -> dict[str, Any]:
    return {**spec.model_dump(mode="json"), "dropped": dict(dropped)}


def _say(loaded: LoadedData, k: int, console: Console) -> None:
    spec, dropped = loaded.spec, loaded.dropped
    place = {
        "file": spec.location,
        "bundled": f"bundled {spec.attribution}",
    }.get(spec.source, f"{spec.source}, {spec.location}, {spec.attribution}")
    counts = f"{spec.train_rows} train / {spec.test_rows} test texts"
    held_out = ", held out of the training texts" if loaded.held_out else ""
    console.info(f"{spec.name}: {place}; {counts}{held_out}")
    if loaded.unread:
        console.info(f"{spec.name}: not used: {', '.join(loaded.unread)}")
    if dropped:
        counts = ", ".join(f"{count} {reason}" for reason, count in dropped.items())
        rows = f"{spec.dropped_rows} row{'s' if spec.dropped_rows > 1 else ''}"
        console.info(f"{spec.name}: {rows} dropped: {counts}")
    if spec.source == "file" and len(spec.label_names) <= _SHOWN_CLASSES:
        sizes = Counter(example.label for example in loaded.train)
        shown = ", ".join(f"{name} {sizes[at]}" for at, name in enumerate(spec.label_names))
        console.info(f"{spec.name}: training texts by label: {shown}")
    for doubt in doubts(spec.label_names, k):
        console.warn(doubt)


def doubts(names: Sequence[str], k: int) -> list[str]:
    """What may be wrong with the classes of some texts."""
    found = [
        f"The labels {' and '.join(map(repr, alike))} are classes of their own. If they mean "
        "the same, spell them alike in the data."
        for alike in _alike(names)
    ]
    if k < len(names):
        found.append(
            f"k = {k} is less than the {len(names)} classes: "
            "some classes have no labelled text at all."
        )
    return found


def _alike(names: Sequence[str]) -> list[list[str]]:
    """Names that differ in case only, or in how Unicode spells their characters."""
    spelled: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        spelled[unicodedata.normalize("NFKC", name).casefold()].append(name)
    return [alike for alike in spelled.values() if len(alike) > 1]
