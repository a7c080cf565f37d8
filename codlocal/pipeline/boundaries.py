"""Decision boundaries of two classes in a window of the plane, seen on a grid of points."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

WINDOW = ((-1.5, 2.5), (-1.0, 1.5))
"""The part of the plane that is looked at, as (x, y)."""
SIDE = 160
"""How many points the grid of the window has in each direction."""
_SAMPLES = 200


def grid_axes() -> tuple[Array, Array]:
    """The coordinates of the grid's columns and rows, shape [side] each."""
    x, y = (np.linspace(low, high, SIDE) for low, high in WINDOW)
    return x, y


def grid_points() -> Array:
    """The points of the grid, row by row, shape [side * side, 2]."""
    points: Array = np.stack(np.meshgrid(*grid_axes()), axis=-1).reshape(-1, 2)
    return points


def boundary(labels: Labels) -> Array:
    """The points halfway between neighbours of the grid with different labels, shape [n, 2]."""
    points, square = grid_points().reshape(SIDE, SIDE, 2), labels.reshape(SIDE, SIDE)
    rows, columns = square[1:] != square[:-1], square[:, 1:] != square[:, :-1]
    upright = (points[1:][rows] + points[:-1][rows]) / 2
    flat = (points[:, 1:][columns] + points[:, :-1][columns]) / 2
    return np.concatenate([upright, flat])


def across(points: Array, labels: Labels, grid_labels: Labels) -> Array:
    """The nearest grid point of the other class for each of n labelled points, shape [n, 2]."""
    from scipy.spatial import KDTree

    grid, found = grid_points(), np.empty_like(points)
    for label in (0, 1):
        other, mine = grid[grid_labels != label], labels == label
        found[mine] = other[KDTree(other).query(points[mine])[1]]
    return found


def crossings(label: Callable[[Array], Labels], starts: Array, ends: Array) -> Array:
    """Where the label changes first on the way from each start to its end, shape [n, 2].

    NaN where both ends have one label.
    """
    shares = np.linspace(0, 1, _SAMPLES)[:, None, None]
    segments = starts + shares * (ends - starts)
    labels = label(segments.reshape(-1, 2)).reshape(_SAMPLES, -1)
    changed = labels != labels[0]
    at: Array = segments[changed.argmax(axis=0), np.arange(len(starts))]
    at[~changed[-1]] = np.nan
    return at


def distances(points: Array, goals: Array) -> Array:
    """How far each of n points is from the nearest of the goals, shape [n]."""
    from scipy.spatial import KDTree

    found: Array = KDTree(goals).query(points)[0]
    return found


def reach(points: Array, goals: Array) -> float:
    """How far any of the points is from the nearest goal: the one-sided Hausdorff distance."""
    return float(distances(points, goals).max(initial=0.0))
