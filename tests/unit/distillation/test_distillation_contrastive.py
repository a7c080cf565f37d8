from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from tiny import tiny_model

from codlocal.distillation.composition import TrainingSet, TrainingText
from codlocal.distillation.contrastive import contrastive_step, cosine_pair_loss
from codlocal.distillation.warm_start import head_features
from codlocal.models.initialise import new_classifier

WORDS = ("good food", "bad food", "a great place, and the service was good", "the place is awful")
TEXTS = TrainingSet(
    tuple(TrainingText(str(i), text, gold=None) for i, text in enumerate(WORDS)), ((0, 1), (2, 3))
)
LABELS = torch.tensor([1, 0, 1, 0])

vectors = npst.arrays(
    np.float32, st.tuples(st.integers(1, 6), st.just(4)), elements=st.floats(-3, 3, width=16)
).filter(lambda rows: (np.linalg.norm(rows, axis=1) > 0.1).all())


@given(vectors, st.integers(1, 3))
def test_the_loss_is_that_of_the_formula(rows: np.ndarray, classes: int):
    labels = np.arange(len(rows)) % classes
    errors: dict[bool, list[float]] = {}
    for i, j in combinations(range(len(rows)), 2):
        cosine = rows[i] @ rows[j] / np.linalg.norm(rows[i]) / np.linalg.norm(rows[j])
        alike = bool(labels[i] == labels[j])
        errors.setdefault(alike, []).append((cosine - alike) ** 2)
    expected = np.mean([np.mean(kind) for kind in errors.values()]) if errors else 0
    found = cosine_pair_loss(torch.tensor(rows), torch.tensor(labels))
    assert found.shape == ()
    assert found.item() == pytest.approx(expected, abs=1e-5)


def test_it_is_zero_for_one_direction_per_class():
    rows = torch.tensor([[2.0, 0.0], [0.0, 1.0], [5.0, 0.0]])
    assert cosine_pair_loss(rows, torch.tensor([0, 1, 0])).item() == pytest.approx(0, abs=1e-12)


def test_a_single_text_gives_a_gradient_of_zero():
    rows = torch.ones(1, 3, requires_grad=True)
    cosine_pair_loss(rows, torch.tensor([0])).backward()
    assert rows.grad.tolist() == [[0, 0, 0]]


def test_the_labels_are_those_of_the_texts_in_the_batch(tmp_path: Path):
    student = new_classifier(tiny_model(tmp_path), ("n", "p"), device="cpu")
    step = contrastive_step(student, TEXTS, LABELS)
    student.model.train(mode=False)
    alike = cosine_pair_loss(head_features(student, [WORDS[3], WORDS[1]]), torch.tensor([0, 0]))
    assert step(student.model, [3, 1]).total.item() == pytest.approx(alike.item(), abs=1e-5)


@pytest.mark.parametrize("kind", ["bert", "deberta", "modernbert", "llama", "qwen2", "gemma3"])
def test_a_step_reaches_the_body_and_does_not_depend_on_padding(tmp_path: Path, kind: str):
    student = new_classifier(tiny_model(tmp_path, kind), ("n", "p"), device="cpu")
    step = contrastive_step(student, TEXTS, LABELS)
    student.model.train(mode=False)
    pair = step(student.model, [0, 1]).total.item()
    short, padded = (step(student.model, batch).total.item() for batch in ([1, 0], [0, 1, 2, 3]))
    assert pair == pytest.approx(short, abs=1e-5)
    assert padded > 0
    alone = head_features(student, WORDS)
    assert padded == pytest.approx(cosine_pair_loss(alone, LABELS).item(), abs=1e-5)
    step(student.model, [0, 1, 2, 3]).total.backward()
    assert student.model.get_input_embeddings().weight.grad.abs().sum() > 0
