import math

import pytest
import torch

from codlocal.distillation.class_prior import prior_shift
from codlocal.distillation.composition import TrainingText


def texts(*gold):
    return [TrainingText(str(at), "text", label) for at, label in enumerate(gold)]


def sure_of(*labels, classes=2, by=20.0):
    logits = torch.zeros(len(labels), classes)
    for row, label in enumerate(labels):
        logits[row, label] = by
    return logits


def test_originals_alone_shift_nothing():
    shift = prior_shift(texts(0, 1, 1), torch.randn(3, 2))
    assert shift.tolist() == [0.0, 0.0]


def test_even_originals_and_their_flips_shift_nothing():
    shift = prior_shift(texts(0, None, 1, None), sure_of(0, 1, 1, 0))
    assert shift.abs().max() < 1e-6


def test_flips_of_one_class_alone_are_made_up_for():
    shift = prior_shift(texts(1, None, 0, None), sure_of(1, 0, 1, 0))
    # Two originals, both called 1, and two flips: with one more text of each class
    # 1 has (2 + 1) / 4 of the originals and (2 + 1) / 6 of all texts.
    expected = [math.log((3 / 6) / (1 / 4)), math.log((3 / 6) / (3 / 4))]
    assert shift.tolist() == pytest.approx(expected, abs=1e-6)


def test_soft_labels_count_by_their_probability():
    logits = torch.tensor([[0.0, math.log(3.0)], [0.0, 0.0]])
    shift = prior_shift(texts(1, None), logits)
    assert shift.tolist() == pytest.approx(
        [math.log((1.75 / 4) / (1.25 / 3)), math.log((2.25 / 4) / (1.75 / 3))], abs=1e-6
    )


def test_a_model_that_has_learned_the_texts_gives_back_the_originals_shares():
    shift = prior_shift(texts(1, 1, None, None), sure_of(1, 1, 0, 0))
    found = (torch.tensor([0.5, 0.5]).log() - shift).softmax(dim=-1)
    assert found.tolist() == pytest.approx([0.25, 0.75], abs=1e-6)


def test_many_classes_and_the_dtype_are_kept():
    shift = prior_shift(texts(0, 1, None), sure_of(0, 1, 2, classes=5).to(torch.float32))
    assert shift.shape == (5,)
    assert shift.dtype == torch.float32
    assert shift[2] > 0 > shift[0]
