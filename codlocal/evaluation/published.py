"""The published accuracies that ours are shown beside."""

import tomllib
from functools import cache
from importlib import resources

from codlocal.core.records import Row


class PublishedCurves(Row):
    """The accuracies of one dataset and method over k, without and with counterfactuals."""

    datasets: tuple[str, ...]
    method: str
    baseline: tuple[float, ...]
    student: tuple[float, ...]


class Published(Row):
    """All published accuracies; `k` belongs to every curve."""

    source: str
    k: tuple[int, ...]
    curves: tuple[PublishedCurves, ...]

    def find(self, dataset: str, method: str) -> PublishedCurves | None:
        """The curves of a dataset and method, if there are any."""
        return next(
            (one for one in self.curves if one.method == method and dataset in one.datasets), None
        )


@cache
def published() -> Published:
    """The published table, which comes with the package."""
    file = resources.files("codlocal.evaluation") / "published.toml"
    return Published.model_validate(tomllib.loads(file.read_text("utf-8")))
