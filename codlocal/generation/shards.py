"""The originals of a run in shards: what a search needs of them is held for one shard at a time.

So the memory of a run does not grow with its originals. Of a text that is not in the shard, only
its id, its number of tokens and the teacher's probabilities are held; all else is on disk.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache

from codlocal.core import artifacts
from codlocal.core.console import Console
from codlocal.core.jsonl import read_rows
from codlocal.core.keyed_rows import KeyedRows
from codlocal.core.records import Example, Original, Teacher
from codlocal.core.run import RunFolder
from codlocal.generation.confusion import confusion_of
from codlocal.generation.engines.engine import Sampling
from codlocal.generation.lexicon import Lexicon
from codlocal.generation.plan import Planner
from codlocal.generation.prompts import PromptTemplate
from codlocal.generation.quoting import quoted_name
from codlocal.generation.targets import Matrix, choose_targets
from codlocal.generation.task import Task
from codlocal.generation.tasks import Attributed, EditFinder, FoundEdits, Reading, build_tasks

SHARD = 1000
"""Originals that are searched together, all rounds of them before the next ones. They show each
other's demonstrations and verified flips; so the number is part of what a run computes."""


@dataclass(frozen=True)
class Shard:
    """Some originals, and the teacher's probabilities of them, shape [originals, classes]."""

    examples: Sequence[Example]
    probabilities: Matrix

    @property
    def ids(self) -> list[str]:
        """The ids of the originals."""
        return [example.id for example in self.examples]


@dataclass(frozen=True)
class Shards:
    """Reads the originals shard by shard, as often as is wanted; the teacher is asked once."""

    run: RunFolder
    teacher: Teacher
    lexicon: Lexicon
    planner: Planner
    ids: Sequence[str]
    size: int
    confusion: Matrix | None
    texts: KeyedRows[Example]
    attributions: KeyedRows[Attributed]
    _probabilities: dict[int, Matrix] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Shard]:
        for first in range(0, len(self.ids), self.size):
            examples = artifacts.pick(self.texts, self.ids[first : first + self.size])
            if first not in self._probabilities:
                texts = [example.text for example in examples]
                self._probabilities[first] = self.teacher.predict_proba(texts)
            yield Shard(examples, self._probabilities[first])

    def readings(self, shard: Shard) -> list[Reading]:
        """What to flip into what: an original may have several targets."""
        rule = self.run.config.generator.targets
        targets = choose_targets(rule, shard.probabilities, self.confusion)
        labels = shard.probabilities.argmax(axis=1)
        return [
            (example, int(label), target)
            for example, label, wanted in zip(shard.examples, labels, targets, strict=True)
            for target in wanted
        ]

    def tasks(self, readings: Sequence[Reading]) -> Iterator[Task]:
        """The readings with where to edit, for which the teacher is asked as they are taken.

        Raises:
            ConfigError: attributions by gradient are asked for, and the teacher has none.

        """
        method = self.run.config.generator.attribution
        return build_tasks(self.teacher, self.lexicon, readings, method, self.attributions)


@contextmanager
def open_shards(
    run: RunFolder, teacher: Teacher, template: PromptTemplate, size: int, console: Console
) -> Iterator[Shards]:
    """The originals of a run, and what is known of where they are to be edited."""
    config, label_names = run.config.generator, artifacts.read_spec(run).label_names
    with console.progress("Collecting the words of the training texts", None):
        lexicon = Lexicon(teacher, artifacts.corpus(run), len(label_names))
    with (
        artifacts.original_texts(run) as texts,
        KeyedRows(run.file("attributions.jsonl"), Attributed, lambda row: row.key) as attributions,
        KeyedRows(run.file("edits.jsonl"), FoundEdits, lambda row: row.key) as edits,
    ):
        planner = Planner(
            template=template,
            label_names=[quoted_name(name.replace("_", " ")) for name in label_names],
            candidates=config.candidates,
            sampling=Sampling(
                config.temperature, config.top_p, config.reply_tokens, seed=config.seed
            ),
            fill=config.prompting == "completion",
            others=(),  # `search` gives those of its shard
            edits=EditFinder(teacher, lexicon, run.config.generator.attribution, edits),
            most=config.max_candidates,
            span_words=config.span_words,
            tokens=_tokens_of_originals(run),
            apart=lexicon.apart,
        )
        yield Shards(
            run, teacher, lexicon, planner, artifacts.original_ids(run), size,
            confusion_of(run, teacher), texts, attributions,
        )  # fmt: skip


def _tokens_of_originals(run: RunFolder) -> Callable[[str], int]:
    """How many tokens an original has by its score; to be asked once all have theirs."""

    @cache
    def scored() -> dict[str, int]:
        rows = read_rows(run.file("originals.jsonl"), Original)
        return {row.example_id: row.fluency.tokens for row in rows if row.fluency}

    return lambda example_id: scored().get(example_id, 0)
