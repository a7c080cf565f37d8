"""Teachers whose labels have no names, by what they say of texts with gold labels."""

from pathlib import Path

import numpy as np
import pytest
from runs import config

from codlocal.core.console import Console
from codlocal.core.errors import ModelError
from codlocal.core.records import Example
from codlocal.distillation import label_order
from codlocal.distillation.label_order import check_order

LABELS = ("bad", "good", "odd")
NAMES = tuple(f"LABEL_{at}" for at in range(3))


class Teacher:
    """Gives each text the class that is written in it."""

    def logits(self, texts):
        return np.eye(3)[[int(text) for text in texts]]


@pytest.fixture(autouse=True)
def loaded(monkeypatch):
    monkeypatch.setattr(label_order.Classifier, "load", lambda *_given, **_settings: Teacher())


def check(*, right, moved, rest=0):
    """Of each label so many texts get its own class, the one after it, and the one before it."""
    examples = [
        Example(id=f"train/{label}/{step}/{at}", text=str((label + step) % 3), label=label)
        for label in range(3)
        for step, count in enumerate((right, moved, rest))
        for at in range(count)
    ]
    check_order(Path("teacher"), NAMES, LABELS, examples, config(), Console())


def test_an_order_that_turns_the_labels_round_is_told_as_it_is():
    with pytest.raises(ModelError) as caught:
        check(right=0, moved=60)
    told = str(caught.value)
    assert "right for 0% of 180 training texts, in another for 100%" in told
    # Texts of bad get class 1, those of good class 2, those of odd class 0.
    assert "LABEL_0 for odd, LABEL_1 for bad, LABEL_2 for good." in told


def test_the_datas_order_is_told_where_it_is_right(capsys):
    check(right=50, moved=10)
    said = " ".join(capsys.readouterr().err.split())
    assert "LABEL_0 for bad, LABEL_1 for good, LABEL_2 for odd: right for 83% of 180" in said


@pytest.mark.parametrize(
    "counts",
    [
        {"right": 9, "moved": 27, "rest": 24},  # 45% in another order
        {"right": 12, "moved": 30, "rest": 18},  # half
        {"right": 25, "moved": 40, "rest": 1},  # 61%, and 38% as it is
    ],
)
def test_an_order_is_not_believed_unless_it_has_most_and_clearly_more(counts, capsys):
    check(**counts)
    assert "LABEL_0 for bad, LABEL_1 for good" in capsys.readouterr().err


@pytest.mark.parametrize(
    "counts",
    [
        {"right": 12, "moved": 33, "rest": 15},  # 55% in another order, and 20% as it is
        {"right": 21, "moved": 39},  # 65%, and 35%
    ],
)
def test_an_order_that_has_most_and_clearly_more_is_believed(counts):
    with pytest.raises(ModelError, match="LABEL_0 for odd, LABEL_1 for bad"):
        check(**counts)


def test_of_few_texts_more_has_to_be_right():
    # 3 standard deviations of guesses are 3 / sqrt(36): another order needs half of all more.
    check(right=4, moved=8)
    with pytest.raises(ModelError):
        check(right=3, moved=9)
