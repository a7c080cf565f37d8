"""Which of the k labelled texts are flipped, where the teacher is to choose them."""

from collections.abc import Callable

from codlocal.core import artifacts, jsonl
from codlocal.core.records import Teacher
from codlocal.core.run import RunFolder
from codlocal.distillation.focus import by_margin


def order_originals(run: RunFolder, teacher: Callable[[], Teacher]) -> None:
    """Put every seed's texts in the order in which the teacher would have them flipped.

    Its closest calls come first: they lie next to the boundary already, so that their
    counterfactuals are small edits. Done once a run, and only if the settings ask for it: an order
    that was made under others, before anything was generated, is dropped.
    """
    path = run.file(artifacts.ORDER)
    if run.config.generator.select_originals == "first":
        path.unlink(missing_ok=True)
        return
    if path.exists():
        return
    train = artifacts.read_examples(run, "train")
    splits = []
    for split in artifacts.read_few_shot(run):
        examples = [train[one] for one in split.ids]
        probabilities = teacher().predict_proba([example.text for example in examples])
        places = by_margin([example.label for example in examples], probabilities)
        splits.append(split.model_copy(update={"ids": tuple(split.ids[at] for at in places)}))
    jsonl.write_rows(path, splits)
