"""One source of a sweep at work: what its cells share is loaded once, when it is first needed."""

import shutil
from functools import cached_property
from pathlib import Path

import numpy as np

from codlocal.core import artifacts, hashing, jsonl
from codlocal.core.config import Config
from codlocal.core.console import Console, Task
from codlocal.core.records import Candidate, Metrics, Verdict
from codlocal.core.run import RunFolder
from codlocal.core.statistics import class_gap
from codlocal.distillation.arms import ARMS, Material, collect_edits
from codlocal.distillation.composition import TrainingSet
from codlocal.distillation.knowledge import Knowledge, gather
from codlocal.distillation.learners import Lesson, learn
from codlocal.distillation.peers import FrozenEncoder
from codlocal.distillation.starting import find_start, start_student
from codlocal.distillation.student import StudentJob
from codlocal.evaluation.information import fisher_log_determinant, fisher_trace
from codlocal.evaluation.metrics import score
from codlocal.evaluation.predictions import TestSplit, predict, teacher_split
from codlocal.evaluation.results import SetFacts
from codlocal.models.classifier import Classifier, softmax
from codlocal.models.devices import limit_threads
from codlocal.models.teacher import load_teacher, read_teacher
from codlocal.pipeline.cells import Cell, Source


class Bench:
    """Trains and scores the cells of one source, whose run is done up to what they need."""

    def __init__(self, run: RunFolder, source: Source, work: Path, console: Console) -> None:
        self._run = run
        self._source = source
        self._work = work
        self._console = console
        self._shared: dict[str, tuple[Knowledge, FrozenEncoder]] = {}
        limit_threads(run.config.runtime.threads)

    def measure(self, cell: Cell) -> tuple[Metrics, SetFacts | None]:
        """Train a cell's classifier, score it on the full test split, and drop it.

        An arm that is not trained has no facts of its texts.

        Raises:
            CodlocalError: a model can't be loaded, or training broke down.

        """
        record = read_teacher(self._run)
        config, base = find_start(cell.config, record.folder, self._console)
        knowledge, encoder = self._share(config, base)
        arm = ARMS[cell.arm]
        settings = config.distillation.model_copy(update=dict(arm.settings))
        job = StudentJob(
            config.model_copy(update={"distillation": settings}),
            base,
            self._labels,
            cell.arm,
            cell.config.dataset.seed,
            self._sets[cell.key],
            record.identity,
        )
        folder = self._work / cell.key
        model = learn(arm, Lesson(job, knowledge, encoder, folder / "student", self._console))
        task, classes = Task(cell.arm, None), len(self._labels)
        found = predict(model, self._test.examples, classes, cell.arm, task)
        shutil.rmtree(folder, ignore_errors=True)
        metrics = score(found, self._test.gold, self._test.teacher)
        if arm.learner == "start":
            return metrics, None
        return metrics, self._facts(job.training_set, knowledge, encoder)

    @property
    def teacher_accuracy(self) -> float:
        """The teacher's own accuracy on the test split."""
        return self._test.teacher_accuracy

    @cached_property
    def _teacher(self) -> Classifier:
        return load_teacher(self._run)

    @cached_property
    def _labels(self) -> tuple[str, ...]:
        return artifacts.read_spec(self._run).label_names

    @cached_property
    def _test(self) -> TestSplit:
        identity = read_teacher(self._run).identity
        return teacher_split(self._run, identity, lambda: self._teacher, self._console)

    @cached_property
    def _verdicts(self) -> list[Verdict]:
        return list(jsonl.read_rows(self._run.file("verdicts.jsonl"), Verdict))

    @cached_property
    def _sets(self) -> dict[str, TrainingSet]:
        """The texts of all cells, done or not: the teacher is asked for all of them at once."""
        train = artifacts.read_examples(self._run, "train")
        splits = {split.seed: split.ids for split in artifacts.read_few_shot(self._run)}
        pairs = artifacts.read_pairs(self._run)
        candidates = list(jsonl.read_rows(self._run.file("candidates.jsonl"), Candidate))
        edits = collect_edits(candidates, self._verdicts)
        sets = {}
        for cell in self._source.cells:
            k, seed = cell.config.dataset.k, cell.config.dataset.seed
            originals = [train[one] for one in splits[seed][:k]]
            sets[cell.key] = ARMS[cell.arm].texts(Material(originals, pairs, edits, seed))
        return sets

    def _share(self, config: Config, base: Path) -> tuple[Knowledge, FrozenEncoder]:
        """What cells with the same distillation settings share; kept for one setting at a time."""
        key = hashing.of_value(config.distillation.model_dump(mode="json"))
        if key not in self._shared:
            self._shared.clear()
            texts = {text.id: text.text for one in self._sets.values() for text in one.texts}
            knowledge = gather(self._run, config, self._teacher, base, texts, self._console)
            start = start_student(config, base, self._labels, seed=0)
            self._shared[key] = knowledge, FrozenEncoder(start)
        return self._shared[key]

    def _facts(
        self, training_set: TrainingSet, knowledge: Knowledge, encoder: FrozenEncoder
    ) -> SetFacts:
        ids = [text.id for text in training_set.texts]
        features = encoder.features([text.text for text in training_set.texts])
        probabilities = softmax(knowledge.outputs.of(ids))
        edits = {row.candidate_id: row.edit_distance for row in self._verdicts}
        distances = [edits[one] for one in ids if one in edits]
        return SetFacts(
            texts=len(ids),
            pairs=training_set.pairs,
            singles=training_set.singles,
            fill=training_set.fill,
            edit_distance=float(np.mean(distances)) if distances else None,
            boundary_distance=float(class_gap(probabilities).mean() / 2),
            fisher_trace=fisher_trace(probabilities),
            fisher_log_determinant=fisher_log_determinant(features, probabilities),
        )
