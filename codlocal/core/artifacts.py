"""What the data stage left in a run folder, as later stages read it."""

from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from codlocal.core import jsonl
from codlocal.core.errors import RunError
from codlocal.core.records import DatasetSpec, Example, FewShotSplit
from codlocal.core.run import RunFolder

TRAIN = ("data", "train.jsonl")
TEST = ("data", "test.jsonl")
FEW_SHOT = ("data", "fewshot.jsonl")
SPEC = ("data", "spec.json")


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
    """One split by example id, in the order of the file.

    Raises:
        RunError: the data stage has not been run, or the file is damaged.

    """
    path = _existing(run, TRAIN if split == "train" else TEST)
    return {example.id: example for example in jsonl.read_rows(path, Example)}


def read_few_shot(run: RunFolder) -> list[FewShotSplit]:
    """The k labelled texts of every seed, in the order of the seeds.

    Raises:
        RunError: the data stage has not been run, or the file is damaged.

    """
    return list(jsonl.read_rows(_existing(run, FEW_SHOT), FewShotSplit))


def originals(run: RunFolder) -> list[Example]:
    """The texts that get counterfactuals: k/2 or k of every seed, each text once, in order.

    The budget decides: the first k/2 of a seed ("paper"), or all its texts ("max").

    Raises:
        RunError: the data stage has not been run, or a file is damaged.

    """
    train = read_examples(run, "train")
    part = 1 if run.config.generator.budget == "max" else 2
    ids = dict.fromkeys(
        one for split in read_few_shot(run) for one in split.ids[: len(split.ids) // part]
    )
    missing = next((one for one in ids if one not in train), None)
    if missing is not None:
        raise RunError(
            f"{run.file(*TRAIN)} lacks the text {missing}.",
            "Add --redo data to set the data aside and load it again.",
        )
    return [train[one] for one in ids]


def _existing(run: RunFolder, parts: tuple[str, str]) -> Path:
    path = run.file(*parts)
    if not path.is_file():
        raise RunError(f"{path} is missing.", f"Run `codlocal data --run {run.path}` first.")
    return path
