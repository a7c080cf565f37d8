import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from codlocal.distillation.focus import by_margin, focus

TEACHER = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.1, 0.9]])


def test_disagreement_comes_before_doubt():
    student = np.array([[0.55, 0.45], [0.7, 0.3], [0.9, 0.1], [0.05, 0.95]])
    assert focus(student, TEACHER, 4) == [1, 0, 2, 3]
    assert focus(student, TEACHER, 1) == [1]


def test_the_order_of_equals_is_that_of_the_texts():
    assert focus(np.full((4, 2), 0.5), TEACHER, 3) == [0, 1, 2]


def test_the_closest_calls_come_first_and_the_classes_take_turns():
    probabilities = np.array([[0.9, 0.1], [0.55, 0.45], [0.4, 0.6], [0.2, 0.8], [0.7, 0.3]])
    assert by_margin([0, 0, 1, 1, 0], probabilities) == [1, 2, 4, 3, 0]


@given(st.lists(st.tuples(st.integers(0, 2), st.floats(0.01, 0.99)), max_size=12))
def test_every_text_has_one_place_and_prefixes_stay_balanced(drawn):
    labels = [label for label, _ in drawn]
    probabilities = np.array([[p, 1 - p] for _, p in drawn]).reshape(-1, 2)
    order = by_margin(labels, probabilities)
    assert sorted(order) == list(range(len(drawn)))
    smallest = min((labels.count(label) for label in set(labels)), default=0)
    prefix = [labels[at] for at in order[: smallest * len(set(labels))]]
    assert all(prefix.count(label) == smallest for label in set(labels))
