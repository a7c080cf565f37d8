import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codlocal.core.records import Metrics
from codlocal.evaluation.calibration import brier_score, expected_calibration_error
from codlocal.evaluation.metrics import MEASURES, mean, near_boundary, score

triples = st.lists(st.tuples(*[st.integers(0, 2)] * 3), min_size=1, max_size=40)


def columns(rows):
    return tuple(np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))


def sure(labels, classes=3):
    """Probabilities that give these labels."""
    return np.eye(classes)[labels] * 0.9 + 0.1 / classes


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
    found = score(sure(predicted), gold, sure(teacher))
    assert found.accuracy == pytest.approx(sum(p == g for p, g, _ in rows) / len(rows))
    assert found.teacher_agreement == pytest.approx(sum(p == t for p, _, t in rows) / len(rows))
    assert found.macro_f1 == pytest.approx(f1_by_hand(predicted, gold))
    assert found.matthews == pytest.approx(matthews_by_hand(predicted, gold), abs=1e-9)
    assert found.n == len(rows)


def test_the_binary_case_by_hand():
    probabilities = np.array([[0.1, 0.9], [0.2, 0.8], [0.4, 0.6], [0.7, 0.3], [0.9, 0.1]])
    teacher = np.array([[0.2, 0.8], [0.1, 0.9], [0.19, 0.81], [0.5, 0.5], [0.4, 0.6]])
    found = score(probabilities, np.array([1, 1, 0, 0, 1]), teacher)
    assert found.model_dump() == {
        "accuracy": 0.6,
        "macro_f1": pytest.approx((2 / 3 + 1 / 2) / 2),
        "matthews": pytest.approx((2 * 1 - 1 * 1) / 6),
        "teacher_agreement": 0.8,
        # 0.9 twice, one of them right; 0.8 right; 0.6 wrong; 0.7 right.
        "calibration_error": pytest.approx((abs(2 * 0.9 - 1) + 0.2 + 0.6 + 0.3) / 5),
        "brier": pytest.approx(2 * (0.1**2 + 0.2**2 + 0.6**2 + 0.3**2 + 0.9**2) / 5),
        # 0.8, 0.5 and 0.6 are near: the last one is not agreed on.
        "boundary_agreement": pytest.approx(2 / 3),
        "boundary_n": 3,
        "n": 5,
    }


def test_with_more_classes_the_two_likeliest_make_the_boundary():
    teacher = np.array([[0.7, 0.1, 0.2], [0.72, 0.14, 0.14], [0.1, 0.8, 0.1], [0.4, 0.3, 0.3]])
    assert near_boundary(teacher).tolist() == [True, True, False, True]


def test_without_a_text_near_the_boundary_nothing_is_said_of_it():
    labels = np.array([0, 1, 2])
    found = score(sure(labels), labels, sure(labels))
    assert (found.boundary_agreement, found.boundary_n) == (None, 0)
    assert mean([found, found]) == found


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0.5, 1), st.booleans()), min_size=1, max_size=30))
def test_calibration_agrees_with_a_plain_loop(rows):
    confidence, right = (np.array(column) for column in zip(*rows, strict=True))
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    gold = np.where(right, probabilities.argmax(axis=1), 1 - probabilities.argmax(axis=1))
    expected = 0.0
    for number in range(15):
        inside = (confidence > number / 15) & (confidence <= (number + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    assert expected_calibration_error(probabilities, gold) == pytest.approx(expected, abs=1e-9)


def test_a_sure_and_right_classifier_is_calibrated():
    gold = np.array([0, 1, 1])
    assert expected_calibration_error(np.eye(2)[gold], gold) == 0
    assert brier_score(np.eye(2)[gold], gold) == 0
    assert brier_score(np.eye(2)[1 - gold], gold) == 2
    assert expected_calibration_error(np.eye(2)[1 - gold], gold) == 1


def test_a_single_class_has_no_correlation():
    ones = np.ones(3, dtype=np.int64)
    assert score(sure(ones), ones, sure(ones)).matthews == 0.0
    assert score(sure(ones), ones, sure(ones)).macro_f1 == 1.0


@pytest.mark.parametrize(("gold", "teacher"), [(2, 3), (3, 2), (0, 3)])
def test_unequal_shapes_are_refused(gold, teacher):
    labels = [np.zeros(n, dtype=np.int64) for n in (3, gold, teacher)]
    with pytest.raises(ValueError, match="shapes"):
        score(sure(labels[0]), labels[1], sure(labels[2]))


def test_the_mean_is_taken_figure_by_figure():
    rows = [
        Metrics(
            accuracy=a,
            macro_f1=a / 2,
            matthews=-a,
            teacher_agreement=1.0,
            calibration_error=a,
            brier=2 * a,
            boundary_agreement=a,
            boundary_n=3,
            n=7,
        )
        for a in (0.2, 0.4)
    ]
    found = mean(rows)
    figures = [getattr(found, name) for name in MEASURES]
    assert figures == pytest.approx([0.3, 0.15, -0.3, 1.0, 0.3, 0.6, 0.3])
    assert (found.boundary_n, found.n) == (3, 7)
