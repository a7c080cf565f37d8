"""One original and the label that it is to get: what a search is made of."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from codlocal.core.records import Example


@dataclass(frozen=True)
class Task:
    """One original to be flipped. `importance` has one value per word of the text."""

    example: Example
    source_label: int
    target_label: int
    importance: npt.NDArray[np.float64]

    @property
    def key(self) -> tuple[str, int]:
        """The original and the target label: an original may be flipped into several."""
        return self.example.id, self.target_label
