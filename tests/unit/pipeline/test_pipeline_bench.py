"""What a sweep tells of the texts of a cell."""

from types import SimpleNamespace

import numpy as np
import pytest
from runs import config, run_with_data
from verified import verdict_with

from codlocal.core import jsonl
from codlocal.core.console import Console
from codlocal.distillation.composition import TrainingSet, TrainingText
from codlocal.distillation.teacher_outputs import TeacherOutputs
from codlocal.pipeline.bench import Bench
from codlocal.pipeline.cells import Source


def verdict(name, distance):
    return verdict_with(
        candidate_id=name, example_id="a", probabilities=(0.9, 0.1), label=0, flipped=True,
        edits=1, edit_distance=distance,
    )  # fmt: skip


def test_the_facts_of_a_set_are_those_of_its_own_texts(tmp_path):
    texts = tuple(TrainingText(name, name, None) for name in ("a", "a/0", "b/1", "c"))
    chosen = TrainingSet(texts, ((0, 1), (2,), (3,)), pairs=2, singles=3, fill=5)
    logits = np.log([[0.8, 0.2], [0.5, 0.5], [0.4, 0.6], [0.1, 0.9]])
    outputs = TeacherOutputs({one.id: at for at, one in enumerate(texts)}, logits)
    encoder = SimpleNamespace(features=lambda asked: np.eye(len(asked)))
    with run_with_data(tmp_path) as run:
        verdicts = [verdict("a/0", 0.1), verdict("a/1", 0.9), verdict("b/1", 0.4)]
        jsonl.write_rows(run.file("verdicts.jsonl"), verdicts)
        bench = Bench(run, Source("key", config(), None), tmp_path, Console(-1))
        facts = bench._facts(chosen, SimpleNamespace(outputs=outputs), encoder)
    assert (facts.texts, facts.pairs, facts.singles, facts.fill) == (4, 2, 3, 5)
    assert facts.edit_distance == pytest.approx(0.25)  # of the two that are among them
    assert facts.boundary_distance == pytest.approx(np.mean([0.3, 0.0, 0.1, 0.4]))
    weights = np.array([0.16, 0.25, 0.24, 0.09])  # p (1 - p)
    assert facts.fisher_trace == pytest.approx(weights.sum())
    assert facts.fisher_log_determinant == pytest.approx(np.log(1 + weights).sum())
