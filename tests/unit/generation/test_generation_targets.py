import numpy as np
import pytest

from codlocal.generation.targets import choose_targets, confusion_matrix

PROBABILITIES = np.array([[0.1, 0.3, 0.6], [0.5, 0.1, 0.4]])
CONFUSION = np.array([[0.6, 0.3, 0.1], [0.0, 0.0, 0.0], [0.35, 0.05, 0.6]])


@pytest.mark.parametrize(
    ("rule", "targets"),
    [("runner-up", [[1], [2]]), ("all", [[1, 0], [2, 1]]), ("confusion", [[0], [1]])],
)
def test_targets_follow_the_rule(rule, targets):
    assert choose_targets(rule, PROBABILITIES, CONFUSION) == targets


def test_a_class_that_was_never_seen_is_confused_with_the_runner_up():
    assert choose_targets("confusion", np.array([[0.3, 0.5, 0.2]]), CONFUSION) == [[0]]


def test_the_confusion_matrix_has_mean_probabilities_by_the_teachers_label():
    probabilities = np.array([[0.8, 0.1, 0.1], [0.4, 0.5, 0.1], [0.0, 0.5, 0.5]])
    matrix = confusion_matrix([0, 0, 2], probabilities)
    np.testing.assert_allclose(matrix[0], [0.6, 0.3, 0.1])
    np.testing.assert_allclose(matrix[1], 0.0)
    np.testing.assert_allclose(matrix[2], [0.0, 0.5, 0.5])
