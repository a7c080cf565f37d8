import numpy as np
import pytest

from codlocal.evaluation.neglect import left_out, warning


def said(*counts):
    """Probabilities of texts, so many of each class."""
    labels = np.repeat(np.arange(len(counts)), counts)
    return np.eye(len(counts))[labels] * 0.5 + 0.1


@pytest.mark.parametrize(
    ("student", "teacher", "lost"),
    [
        ((100, 0), (88, 12), [1]),
        ((98, 2), (88, 12), [1]),
        ((97, 3), (88, 12), []),  # a fifth of the teacher's texts, rounded up
        ((100, 0), (96, 4), []),  # rare
        ((50, 50), (50, 50), []),
        ((0, 100), (50, 50), [0]),
        ((100, 0, 0), (50, 25, 25), [1, 2]),
    ],
)
def test_a_class_is_left_out_if_the_teacher_gives_it_often(student, teacher, lost):
    assert left_out(said(*student), said(*teacher)) == lost


def test_the_warning_counts_seeds_and_names_classes():
    message = warning("student", [[], [1], [1, 0]], ("bad", "good"))
    assert "The student" in message
    assert "bad (1 of 3 seeds), good (2 of 3 seeds)" in message
    assert warning("student", [[], []], ("bad", "good")) is None
