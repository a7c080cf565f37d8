import numpy as np
import pytest

from codlocal.pipeline.boundaries import (
    SIDE,
    WINDOW,
    across,
    boundary,
    crossings,
    grid_axes,
    grid_points,
    reach,
)


def right(points):
    """The label of a plane whose boundary is x = 0.5."""
    return (points[:, 0] > 0.5).astype(np.int64)


def test_the_grid_fills_the_window_row_by_row():
    points = grid_points()
    (left, end), (low, high) = WINDOW
    assert points[0].tolist() == [left, low] and points[-1].tolist() == [end, high]
    assert points[:SIDE, 0] == pytest.approx(grid_axes()[0])


def test_a_boundary_lies_halfway_between_neighbours():
    labels = right(grid_points())
    edge, step = boundary(labels), 4 / (SIDE - 1)
    assert edge.shape == (SIDE, 2)
    assert np.abs(edge[:, 0] - 0.5).max() <= step / 2
    assert boundary(np.zeros_like(labels)).shape == (0, 2)


def test_a_counterfactual_is_the_nearest_point_of_the_other_class():
    points = np.array([[0.0, 0.2], [1.0, 0.7]])
    found, step = across(points, right(points), right(grid_points())), 4 / (SIDE - 1)
    assert right(found).tolist() == [1, 0]
    assert np.abs(found - [[0.5, 0.2], [0.5, 0.7]]).max() <= step


def test_a_crossing_is_where_the_label_changes():
    starts, ends = np.array([[0.0, 0.0], [0.0, 0.0]]), np.array([[1.0, 1.0], [0.4, 0.0]])
    found = crossings(right, starts, ends)
    assert found[0] == pytest.approx([0.5, 0.5], abs=0.01)
    assert np.isnan(found[1]).all()


def test_reach_is_the_farthest_of_the_nearest():
    assert reach(np.array([[0.0, 0.0], [3.0, 0.0]]), np.array([[0.0, 0.0], [0.0, 4.0]])) == 3
    assert reach(np.empty((0, 2)), np.zeros((1, 2))) == 0
