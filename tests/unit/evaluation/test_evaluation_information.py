import numpy as np
import pytest

from codlocal.evaluation.information import fisher_log_determinant, fisher_trace, spread


def test_two_classes_give_the_paper_s_weight():
    p = np.array([0.5, 0.9, 1.0])
    assert spread(np.stack([p, 1 - p], axis=1)) == pytest.approx(p * (1 - p))


def test_the_trace_and_determinant_are_those_of_the_matrix():
    generator = np.random.default_rng(0)
    features = generator.normal(size=(6, 4))
    p = generator.random(6)
    probabilities = np.stack([p, 1 - p], axis=1)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    information = sum(w * np.outer(x, x) for w, x in zip(p * (1 - p), unit, strict=True))
    assert fisher_trace(probabilities) == pytest.approx(np.trace(information))
    expected = np.log(np.linalg.det(np.eye(4) + information))
    assert fisher_log_determinant(features, probabilities) == pytest.approx(expected)


def test_texts_near_the_boundary_tell_more():
    features = np.eye(3)
    sure, unsure = (np.tile([[p, 1 - p]], (3, 1)) for p in (0.99, 0.6))
    assert fisher_log_determinant(features, unsure) > fisher_log_determinant(features, sure)
    repeated = np.tile(features[:1], (3, 1))
    assert fisher_log_determinant(features, unsure) > fisher_log_determinant(repeated, unsure)
