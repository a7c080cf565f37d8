import numpy as np
import pytest

from codlocal.pipeline import moons


@pytest.fixture(scope="module")
def shown():
    return moons.demonstrate(20, seed=0)


def test_counterfactuals_bring_the_student_to_the_teacher(shown):
    (student, baseline), _ = shown
    assert (student.arm, baseline.arm) == ("student", "baseline")
    assert student.agreement > baseline.agreement + 0.05
    assert student.hausdorff < baseline.hausdorff
    assert student.fisher > 3 * baseline.fisher


def test_the_boundaries_are_within_the_theorem_s_bound(shown):
    (student, baseline), _ = shown
    assert student.bound == pytest.approx(student.edit + student.coverage)
    assert student.hausdorff <= student.bound
    assert baseline.bound is None


def test_every_arm_has_k_points_and_the_same_first_half(shown):
    _, found = shown
    assert {points.shape for points in found.points.values()} == {(20, 2)}
    assert np.array_equal(found.points["student"][:10], found.points["baseline"][:10])


def test_a_seed_gives_the_same_again(shown):
    results, found = moons.demonstrate(20, seed=0)
    assert results == shown[0]
    assert np.array_equal(found.students["student"], shown[1].students["student"])
