import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codlocal.core.records import Metrics
from codlocal.evaluation.metrics import MEASURES, mean, score

triples = st.lists(st.tuples(*[st.integers(0, 2)] * 3), min_size=1, max_size=40)


def columns(rows):
    return tuple(np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))


def f1_by_hand(predicted, gold):
    found = []
    for label in sorted({*predicted, *gold}):
        true = sum(p == g == label for p, g in zip(predicted, gold, strict=True))
        wrong = sum((p == label) != (g == label) for p, g in zip(predicted, gold, strict=True))
        found.append(2 * true / (2 * true + wrong))
    return sum(found) / len(found)


def matthews_by_hand(predicted, gold):
    """Pearson's correlation of the one-hot labels (Gorodkin 2004)."""
    classes = sorted({*predicted, *gold})
    x = np.array([[p == label for label in classes] for p in predicted], dtype=float)
    y = np.array([[g == label for label in classes] for g in gold], dtype=float)
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    scale = math.sqrt((x * x).sum() * (y * y).sum())
    return (x * y).sum() / scale if scale > 1e-12 else 0.0


@settings(deadline=None)
@given(triples)
def test_scores_agree_with_independent_formulas(rows):
    predicted, gold, teacher = columns(rows)
    found = score(predicted, gold, teacher)
    assert found.accuracy == pytest.approx(sum(p == g for p, g, _ in rows) / len(rows))
    assert found.teacher_agreement == pytest.approx(sum(p == t for p, _, t in rows) / len(rows))
    assert found.macro_f1 == pytest.approx(f1_by_hand(predicted, gold))
    assert found.matthews == pytest.approx(matthews_by_hand(predicted, gold), abs=1e-9)
    assert found.n == len(rows)


def test_the_binary_case_by_hand():
    predicted, gold = np.array([1, 1, 1, 0, 0]), np.array([1, 1, 0, 0, 1])
    found = score(predicted, gold, np.array([1, 1, 1, 0, 1]))
    assert found.model_dump() == {
        "accuracy": 0.6,
        "macro_f1": pytest.approx((2 / 3 + 1 / 2) / 2),
        "matthews": pytest.approx((2 * 1 - 1 * 1) / 6),
        "teacher_agreement": 0.8,
        "n": 5,
    }


def test_a_single_class_has_no_correlation():
    ones = np.ones(3, dtype=np.int64)
    assert score(ones, ones, ones).matthews == 0.0
    assert score(ones, ones, ones).macro_f1 == 1.0


@pytest.mark.parametrize(("gold", "teacher"), [(2, 3), (3, 2), (0, 3)])
def test_unequal_shapes_are_refused(gold, teacher):
    with pytest.raises(ValueError, match="shapes"):
        score(
            np.zeros(3, dtype=np.int64),
            np.zeros(gold, dtype=np.int64),
            np.zeros(teacher, dtype=np.int64),
        )


def test_the_mean_is_taken_figure_by_figure():
    rows = [
        Metrics(accuracy=a, macro_f1=a / 2, matthews=-a, teacher_agreement=1.0, n=7)
        for a in (0.2, 0.4)
    ]
    found = mean(rows)
    assert [getattr(found, name) for name in MEASURES] == pytest.approx([0.3, 0.15, -0.3, 1.0])
    assert found.n == 7
