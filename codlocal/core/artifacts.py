"""The texts of a run folder, those to be flipped, and its pairs, as later stages read them."""

import math
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from codlocal.core import jsonl
from codlocal.core.errors import RunError
from codlocal.core.keyed_rows import KeyedRows
from codlocal.core.records import CounterfactualPair, DatasetSpec, Example, FewShotSplit
from codlocal.core.run import RunFolder

TRAIN = ("data", "train.jsonl")
TEST = ("data", "test.jsonl")
FEW_SHOT = ("data", "fewshot.jsonl")
SPEC = ("data", "spec.json")
_CORPUS = 20_000
"""Texts that are read for their words: of reviews of a hundred words that takes half a minute."""
_ROUND = re.compile(r"~\d+$")
_RESTORE = "Restore it from a copy, or add --redo {} to set that stage aside and do it anew."
ORDER = "order.jsonl"
"""The labelled texts of every seed in the order in which the teacher would have them flipped."""
FOCUS = ("data", "focus.jsonl")
"""In a later round: the texts to be flipped, counterfactuals of earlier rounds among them."""
EARLIER_PAIRS = ("data", "pairs.jsonl")
"""In a later round: the pairs of the rounds before it."""
EARLIER_CANDIDATES = ("data", "candidates.jsonl")
EARLIER_VERDICTS = ("data", "verdicts.jsonl")
"""In a later round: what was tried before, so that it is not tried again."""


def read_spec(run: RunFolder) -> DatasetSpec:
    """The description of the run's dataset.

    Raises:
        RunError: the data stage has not been run, or the file is damaged.

    """
    path = _existing(run, SPEC)
    try:
        return DatasetSpec.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise RunError(
            f"{path} is damaged.", "Add --redo data to set it aside and load the data again."
        ) from error


def read_examples(run: RunFolder, split: Literal["train", "test"]) -> dict[str, Example]:
    """One split by example id, in the order of the file; to train belong a round's texts to flip.

    Raises:
        RunError: the data stage has not been run, or the file is damaged.

    """
    return {example.id: example for example in stream_examples(run, split)}


def stream_examples(run: RunFolder, split: Literal["train", "test"]) -> Iterator[Example]:
    """The rows of `read_examples` one by one, so that they need not be held together."""
    path = _existing(run, TRAIN if split == "train" else TEST)
    focus = run.file(*FOCUS) if split == "train" else None
    added = {row.id for row in jsonl.read_rows(focus, Example)} if focus else set()
    count = 0
    for example in jsonl.read_rows(path, Example):
        added.discard(example.id)
        count += 1
        yield example
    refuse_lost_rows(run, "data", path, count, run.facts("data").get(f"{split}_rows"))
    if focus:
        yield from (row for row in jsonl.read_rows(focus, Example) if row.id in added)


def corpus(run: RunFolder) -> Iterator[str]:
    """The training texts from which words are learned; of very many every so many-th one.

    Raises:
        RunError: the data stage has not been run, or the file is damaged.

    """
    every = math.ceil(read_spec(run).train_rows / _CORPUS)
    return (row.text for row in islice(stream_examples(run, "train"), 0, None, every))


def read_few_shot(run: RunFolder) -> list[FewShotSplit]:
    """The k labelled texts of every seed, in the order of the seeds; the first ones are flipped.

    Raises:
        RunError: the data stage has not been run, or the file is damaged.

    """
    ordered = run.file(ORDER)
    path = ordered if ordered.exists() else _existing(run, FEW_SHOT)
    splits = list(jsonl.read_rows(path, FewShotSplit))
    refuse_lost_rows(run, "data", path, len(splits), run.config.dataset.seeds)
    return splits


def originals(run: RunFolder) -> list[Example]:
    """The texts that get counterfactuals: k/2 or k of every seed, each text once, in order.

    The budget decides: the first k/2 of a seed ("paper"), or all its texts ("max"). A later round
    has texts of its own.

    Raises:
        RunError: the data stage has not been run, or a file is damaged.

    """
    with original_texts(run) as texts:
        return pick(texts, original_ids(run))


def original_ids(run: RunFolder) -> list[str]:
    """The ids of the `originals`, in order."""
    if run.file(*FOCUS).exists():
        return [row.id for row in jsonl.read_rows(run.file(*FOCUS), Example)]
    part = 1 if run.config.generator.budget == "max" else 2
    ids = (one for split in read_few_shot(run) for one in split.ids[: len(split.ids) // part])
    return list(dict.fromkeys(ids))


def original_texts(run: RunFolder) -> KeyedRows[Example]:
    """The file that has the `originals`, to be read by id."""
    focus = run.file(*FOCUS)
    path = focus if focus.exists() else _existing(run, TRAIN)
    return KeyedRows(path, Example, lambda row: row.id)


def pick(texts: KeyedRows[Example], ids: Iterable[str]) -> list[Example]:
    """The examples with some ids.

    Raises:
        RunError: one of them is missing.

    """
    return [_found(texts, one) for one in ids]


def _found(texts: KeyedRows[Example], example_id: str) -> Example:
    example = texts.get(example_id)
    if example is None:
        raise RunError(
            f"{texts.path} lacks the text {example_id}.",
            "Add --redo data to set the data aside and load it again.",
        )
    return example


def id_in_round(text_id: str, number: int) -> str:
    """The id of a text that a later round flips, so that its candidates have ids of their own."""
    return f"{text_id}~{number}"


def flipped_text(example_id: str) -> str:
    """The id of the text itself, whatever round flips it."""
    return _ROUND.sub("", example_id)


def read_pairs(run: RunFolder) -> dict[str, list[CounterfactualPair]]:
    """The verified pairs by the id of the labelled text that they go back to, preferred ones first.

    In a later round a counterfactual of a counterfactual belongs to the text of the first.

    Raises:
        RunError: the file is damaged.

    """
    pairs: dict[str, list[CounterfactualPair]] = {}
    roots: dict[str, str] = {}
    own = list(jsonl.read_rows(run.file("pairs.jsonl"), CounterfactualPair))
    left = run.facts("verify").get("pairs")
    refuse_lost_rows(run, "verify", run.file("pairs.jsonl"), len(own), left)
    for pair in (*jsonl.read_rows(run.file(*EARLIER_PAIRS), CounterfactualPair), *own):
        text = flipped_text(pair.example_id)
        root = roots.get(text, text)
        roots[pair.candidate_id] = root
        pairs.setdefault(root, []).append(pair)
    return pairs


def refuse_lost_rows(run: RunFolder, stage: str, path: Path, found: int, left: int | None) -> None:
    """Refuse a file of a finished stage that has fewer rows than it left, as far as that is known.

    Rows that are gone can't be told from rows that never were: they would change results unseen.

    Raises:
        RunError: that is so.

    """
    if run.is_done(stage) and left is not None and found < left:
        raise RunError(
            f"{path} is damaged: it has {found} of the {left} rows that the {stage} stage left.",
            _RESTORE.format(stage),
        )


def _existing(run: RunFolder, parts: tuple[str, str]) -> Path:
    path = run.file(*parts)
    if not path.is_file():
        first = f"Run `codlocal data --run {run.path}` first."
        hint = _RESTORE.format("data") if run.is_done("data") else first
        raise RunError(f"{path} is missing.", hint)
    return path


def published_student(run: RunFolder) -> Path:
    """The folder of the student that a run publishes.

    Raises:
        RunError: it lacks what a model is made of.

    """
    folder = run.file("student")
    files = [folder / "config.json", *folder.glob("*.safetensors")]
    if len(files) < 2 or not all(one.is_file() and one.stat().st_size for one in files):
        raise RunError(
            f"{folder} is missing, or no whole model any more.",
            "Restore it from a copy, or add --redo distill.",
        )
    return folder
