"""The paper's two-moons demonstration: counterfactuals pin the student's boundary to the teacher's.

A small network is the teacher of two moons (scikit-learn's `make_moons`). One student is distilled
on k points, another on k/2 points and their counterfactuals: the nearest points on the other side
of the teacher's boundary. The theorem (arXiv 2510.21631, Theorem 2): the Hausdorff distance of
both boundaries is at most the largest edit distance plus the coverage, which is how far a point of
either boundary may be from where that boundary crosses a pair.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from codlocal.core.records import Row
from codlocal.distillation.objectives import hard_label_ce, soft_targets_kl
from codlocal.evaluation.figures import check_matplotlib, save
from codlocal.evaluation.information import fisher_trace
from codlocal.models.classifier import softmax
from codlocal.pipeline.boundaries import (
    SIDE,
    Array,
    Labels,
    across,
    boundary,
    crossings,
    distances,
    grid_axes,
    grid_points,
    reach,
)

Pairs = tuple[Array, Array]

_NEAR = 0.25
"""Boundaries are compared where a point of the data is as near as this."""
POINTS = 600
"""Of the data, of which a student gets k."""
_NOISE = 0.15
_STEPS, _RATE = 400, 0.01
_TEMPERATURE, _KL_WEIGHT = 2.0, 20.0


class MoonResult(Row):
    """One student of one seed.

    Near the data, `agreement` is the share of a grid with the teacher's label, and `hausdorff`
    how far a point of one boundary may be from the other; None where there is none.
    `edit`, `coverage` and `bound`, their sum, are over the pairs of which the student has both
    labels right; None without such pairs. `fisher` is the sum of p(1 - p) over the training points.
    """

    arm: str
    seed: int
    agreement: float
    hausdorff: float | None
    edit: float | None = None
    coverage: float | None = None
    bound: float | None = None
    fisher: float


@dataclass(frozen=True)
class Moons:
    """What a figure of one seed shows.

    Attributes:
        data: the points that the teacher was trained on, shape [n, 2].
        gold: their labels, shape [n].
        teacher: the teacher's labels of the window's grid, shape [rows, columns].
        students: each arm's labels of the grid.
        points: each arm's training points, shape [k, 2].

    """

    data: Array
    gold: Labels
    teacher: Labels
    students: dict[str, Labels]
    points: dict[str, Array]


def demonstrate(k: int, seed: int) -> tuple[list[MoonResult], Moons]:
    """Train the teacher and both students of a seed.

    Args:
        k: points per student, an even number up to `POINTS`.
        seed: of the data, the draw, and all networks.

    """
    from sklearn.datasets import make_moons

    data, gold = make_moons(POINTS, noise=_NOISE, random_state=seed)
    teacher = _trained(data, torch.from_numpy(gold), None, width=64, seed=seed)
    grid = grid_points()
    its_labels = _labels(teacher, grid)
    originals = _draw(data, gold, k, seed)
    half = originals[: k // 2]
    counterfactuals = across(half, _labels(teacher, half), its_labels)
    points = {"student": np.concatenate([half, counterfactuals]), "baseline": originals}
    results, labels = [], {}
    for arm, mine in points.items():
        logits = torch.from_numpy(_logits(teacher, mine))
        student = _trained(mine, logits.argmax(dim=1), logits, width=32, seed=seed + 1)
        labels[arm] = _labels(student, grid)
        pairs = (half, counterfactuals) if arm == "student" else None
        measured = _measure(data, (teacher, student), (its_labels, labels[arm]), pairs)
        fisher = fisher_trace(softmax(logits.numpy()))
        results.append(MoonResult(arm=arm, seed=seed, fisher=fisher, **measured))
    students = {arm: mine.reshape(SIDE, SIDE) for arm, mine in labels.items()}
    return results, Moons(data, gold, its_labels.reshape(SIDE, SIDE), students, points)


def draw(moons: Moons, path: Path) -> None:
    """Draw both students of a seed beside the teacher's boundary; writes .png and .svg.

    Raises:
        ConfigError: matplotlib is not installed.

    """
    check_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    titles = {"baseline": "k points", "student": "k/2 points and their counterfactuals"}
    for place, (arm, title) in zip(figure.subplots(1, 2), titles.items(), strict=True):
        place.contourf(*grid_axes(), moons.students[arm], levels=1, alpha=0.25, cmap="coolwarm")
        place.contour(*grid_axes(), moons.teacher, levels=[0.5], colors="black", linestyles="--")
        place.scatter(*moons.data.T, c=moons.gold, s=4, alpha=0.3, cmap="coolwarm")
        place.scatter(*moons.points[arm].T, color="black", s=24, zorder=3)
        if arm == "student":
            for pair in zip(*np.split(moons.points[arm], 2), strict=True):
                place.plot(*np.transpose(pair), color="black", linewidth=0.8)
        place.set_title(title)
    figure.suptitle("student (colour) and the teacher's boundary (dashed)")
    save(figure, path)


def _measure(
    data: Array, models: Sequence[torch.nn.Module], labels: Sequence[Labels], pairs: Pairs | None
) -> dict[str, Any]:
    """Compare teacher and student, given in this order with their labels of the grid."""
    near = distances(grid_points(), data) <= _NEAR
    found: dict[str, Any] = {"agreement": float(np.mean((labels[0] == labels[1])[near]))}
    edges = [boundary(one) for one in labels]
    if not all(map(len, edges)):
        return {**found, "hausdorff": None}
    shown = [edge[distances(edge, data) <= _NEAR] for edge in edges]
    found["hausdorff"] = max(reach(shown[0], edges[1]), reach(shown[1], edges[0]))
    if pairs is None:
        return found
    crossed = [crossings(partial(_labels, model), *pairs) for model in models]
    # The theorem speaks of pairs on which both agree: each boundary crosses them.
    fitted = ~np.isnan(crossed).any(axis=(0, 2))
    if fitted.any():
        edit = float(np.linalg.norm(pairs[0] - pairs[1], axis=1)[fitted].max())
        cover = max(reach(edge, at[fitted]) for edge, at in zip(shown, crossed, strict=True))
        found.update(edit=edit, coverage=cover, bound=edit + cover)
    return found


def _draw(data: Array, gold: Labels, k: int, seed: int) -> Array:
    """Draw k points, the classes in turns, so that every even prefix is balanced."""
    generator = np.random.default_rng(seed)
    drawn = [generator.permutation(np.flatnonzero(gold == label))[: k // 2] for label in (0, 1)]
    points: Array = data[np.stack(drawn, axis=1).reshape(-1)]
    return points


def _trained(
    points: Array, labels: torch.Tensor, teacher: torch.Tensor | None, *, width: int, seed: int
) -> torch.nn.Module:
    """A network trained on labels, and on a teacher's logits where there are any."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [(2, width), (width, width), (width, 2)]
        first, second, last = (torch.nn.Linear(*sizes) for sizes in layers)
    model = torch.nn.Sequential(first, torch.nn.Tanh(), second, torch.nn.Tanh(), last)
    optimizer = torch.optim.Adam(model.parameters(), lr=_RATE)
    inputs = torch.from_numpy(points).float()
    for _ in range(_STEPS):
        logits = model(inputs)
        loss = hard_label_ce(logits, labels)
        if teacher is not None:
            loss = loss + _KL_WEIGHT * soft_targets_kl(logits, teacher, _TEMPERATURE)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return model


def _labels(model: torch.nn.Module, points: Array) -> Labels:
    labels: Labels = _logits(model, points).argmax(axis=1)
    return labels


def _logits(model: torch.nn.Module, points: Array) -> npt.NDArray[np.float32]:
    with torch.inference_mode():
        logits: npt.NDArray[np.float32] = model(torch.from_numpy(points).float()).numpy()
    return logits
