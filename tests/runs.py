"""Run folders whose data stage is done, with eight short reviews that `FakeTeacher` understands."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fakes import FakeTeacher

from codlocal.core import artifacts, jsonl
from codlocal.core.config import Config, resolve
from codlocal.core.records import Candidate, DatasetSpec, Example, FewShotSplit, Original
from codlocal.core.run import RunFolder
from codlocal.pipeline.grid import Grid
from codlocal.verification.judge import judge
from codlocal.verification.vocabulary import Vocabulary

NAMES = ("negative", "positive")
REVIEWS = tuple(
    Example(id=f"train/{number}", text=text, label=label)
    for number, (text, label) in enumerate(
        [
            ("The food was good and the staff friendly.", 1),
            ("The food was bad and the staff rude.", 0),
            ("It was great, really great!", 1),
            ('They said "never again" about the awful soup.', 0),
            ("A clean place & a perfect evening 😀", 1),
            ("So dirty.", 0),
            ("I love it here", 1),
            ("I hate it here", 0),
        ]
    )
)


def edits_of_the_first(texts: Sequence[str]) -> list[Candidate]:
    """Candidates of the first review for its other label."""
    return [
        Candidate(
            id=f"train/0/0/0/{at}", example_id="train/0", round=0, strategy="guided",
            source_label=1, target_label=0, text=text,
        )
        for at, text in enumerate(texts)
    ]  # fmt: skip


def write_search(run: RunFolder, rows: Sequence[Candidate], asked: Sequence[Original]) -> None:
    """Write what a search would have left, with `FakeTeacher`'s verdicts on all that have a text.

    They are of no generator, so that no flip has a fluency.
    """
    examples = artifacts.read_examples(run, "train")
    vocabulary = Vocabulary.of(one.text for one in examples.values())
    written = [row for row in rows if row.text is not None]
    with run.stage("generate"):
        jsonl.write_rows(run.file("originals.jsonl"), asked)
        jsonl.write_rows(run.file("candidates.jsonl"), rows)
        verdicts = judge(FakeTeacher(), examples, written, vocabulary)
        jsonl.write_rows(run.file("verdicts.jsonl"), verdicts)


def grid_of(**changes: Any) -> Grid:
    """A small grid; what is given is laid over it."""
    small = {"profile": "embedded", "dataset": "yelp", "k": [8, 16], "seeds": 2}
    return Grid.model_validate({**small, **changes})


def config(**sections: dict[str, Any]) -> Config:
    """A small configuration of `REVIEWS`; sections are laid over it."""
    base = {
        "dataset": {"k": 8},
        "generator": {
            "candidates": 6, "prompting": "completion", "rounds": ["guided", "wide", "free"],
        },
        "runtime": {"concurrency": 3},
    }  # fmt: skip
    return resolve([base, sections])


@contextmanager
def run_with_data(
    path: Path, settings: Config | None = None, reviews: Sequence[Example] = REVIEWS
) -> Iterator[RunFolder]:
    """Open a run folder; the first time, write what the data stage would have left."""
    with RunFolder.open(path, settings or config()) as run:
        if not run.is_done("data"):
            with run.stage("data"):
                write_data(run, reviews)
        yield run


def _unseen(review: Example) -> Example:
    return review.model_copy(
        update={"id": review.id.replace("train", "test"), "text": f"{review.text} So it was."}
    )


def write_data(run: RunFolder, reviews: Sequence[Example] = REVIEWS) -> None:
    """Write what the data stage would have left."""
    ids = tuple(row.id for row in reviews)
    split = FewShotSplit(seed=0, ids=(*ids, *ids)[: 2 * len(ids)])
    spec = DatasetSpec(
        name="tiny", source="file", location="nowhere", label_names=NAMES, sha256="0" * 64,
        train_rows=len(reviews), test_rows=len(reviews), task="sentiment",
    )  # fmt: skip
    jsonl.write_rows(run.file(*artifacts.TRAIN), reviews)
    jsonl.write_rows(run.file(*artifacts.TEST), [_unseen(row) for row in reviews])
    jsonl.write_rows(run.file(*artifacts.FEW_SHOT), [split])
    jsonl.write_json(run.file(*artifacts.SPEC), spec.model_dump(mode="json"))
