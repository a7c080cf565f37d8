"""Curves over k, drawn with matplotlib from the optional `[report]` extra."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

from codlocal.core.errors import ConfigError
from codlocal.evaluation.comparison import Series, panel_title
from codlocal.evaluation.published import published

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SPREAD, _WIDEST = 0.02, 0.3
"""How far the arms at one k stand apart, as a share of k, so that their bars don't overlap, and how
far all of them may, so that many arms don't reach the next k."""

_BESIDE = 1.2
"""How much further the axis of k goes than its ends."""

_MARGIN = 0.1
"""What is shown below the lowest mean and above the highest; longer bars are cut off."""

_ENTRY = 0.24
"""Inches that a line of the legend takes."""

_COLOURS = 10
"""Of the default cycle: so many arms have one of their own, the next ones another marker."""


def check_matplotlib() -> None:
    """Refuse to draw where matplotlib is not installed.

    Raises:
        ConfigError: that is so.

    """
    if importlib.util.find_spec("matplotlib") is None:
        raise ConfigError(
            "Figures need matplotlib, which is not installed.", "pip install 'codlocal[report]'"
        )


def draw_panel(series: Sequence[Series], path: Path) -> None:
    """Draw the series of one dataset and method: agreement on the left, accuracy on the right.

    Bars are 95 % intervals over seeds, cut off at the edge of the figure; published accuracies are
    grey. Writes `path` with the endings .png and .svg.

    Raises:
        ConfigError: matplotlib is not installed.

    """
    check_matplotlib()
    import matplotlib as mpl

    with mpl.rc_context({"text.parse_math": False}):  # a $ in a name is a $
        save(_panel(series), path)


def _panel(series: Sequence[Series]) -> "Figure":
    from matplotlib.figure import Figure

    dataset, method, _ = series[0].panel
    figure = Figure(figsize=(11, max(4.5, _ENTRY * (len(series) + 4))), layout="constrained")
    figure.suptitle(fill(panel_title(series[0].panel), 100))
    left, right = figure.subplots(1, 2)
    _draw(left, series, "teacher_agreement", "agreement with the teacher")
    _draw(right, series, "accuracy", "accuracy")
    _draw_published(
        right, dataset, method, max((k for one in series for k in one.sizes), default=0)
    )
    figure.legend(*right.get_legend_handles_labels(), loc="outside right upper", fontsize="small")
    return figure


def save(figure: "Figure", path: Path) -> None:
    """Write a figure as PNG and SVG; equal figures give equal files."""
    import matplotlib as mpl

    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"svg.hashsalt": "codlocal"}):
        for kind, more in (("png", {"dpi": 150}), ("svg", {"metadata": {"Date": None}})):
            target = path.with_suffix(f".{kind}")
            partial = target.with_name(f"{target.name}.partial")
            figure.savefig(partial, format=kind, **more)
            partial.replace(target)


def _draw(axes: "Axes", series: Sequence[Series], measure: str, label: str) -> None:
    curves = {one.arm: points for one in series if (points := one.curve(measure))}
    apart = min(_SPREAD, _WIDEST / max(len(curves), 1))
    for place, (arm, points) in enumerate(curves.items()):
        shift = 1 + apart * (place - (len(curves) - 1) / 2)
        axes.errorbar(
            [point.k * shift for point in points],
            [point.mean for point in points],
            yerr=[point.half or 0.0 for point in points],
            label=arm,
            marker=("o", "s", "^")[place // _COLOURS % 3],
            markersize=4,
            capsize=2,
            linewidth=2.5 if arm.startswith("student") else 1.2,
        )
    sizes = sorted({k for one in series for k in one.sizes})
    # The bars of two or three seeds may be many times as long as the curves are apart.
    means = [point.mean for points in curves.values() for point in points] or [0.0, 1.0]
    _show(axes, means, (1.0, 0.0))
    axes.set_xscale("log", base=2)
    if sizes:
        axes.set_xlim(sizes[0] / _BESIDE, sizes[-1] * _BESIDE)
    axes.set_xticks(sizes, [str(k) for k in sizes])
    axes.minorticks_off()
    axes.set_xlabel("k labelled texts")
    axes.set_ylabel(label)
    axes.grid(alpha=0.3)


def _show(axes: "Axes", means: Sequence[float], limits: tuple[float, float]) -> None:
    """Set the limits so far apart that all means are within, too."""
    low = min([limits[0], *(mean - _MARGIN for mean in means)])
    high = max([limits[1], *(mean + _MARGIN for mean in means)])
    axes.set_ylim(max(0.0, low), min(1.0, high))


def _draw_published(axes: "Axes", dataset: str, method: str, largest: int) -> None:
    table = published()
    curves = table.find(dataset, method)
    if curves is None:
        return
    shown = [place for place, k in enumerate(table.k) if k <= largest]
    ticks = sorted({*map(round, axes.get_xticks()), *(table.k[place] for place in shown)})
    if ticks:
        axes.set_xlim(ticks[0] / _BESIDE, ticks[-1] * _BESIDE)
    axes.set_xticks(ticks, [str(k) for k in ticks])
    for name, values, style in (
        ("published baseline", curves.baseline, ".:"),
        ("published CoD", curves.student, ".--"),
    ):
        means = [values[place] for place in shown]
        axes.plot([table.k[place] for place in shown], means, style, color="grey", label=name)
        _show(axes, means, axes.get_ylim())
