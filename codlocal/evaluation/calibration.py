"""How far a classifier's probabilities can be trusted, held against the gold labels."""

import numpy as np
import numpy.typing as npt

_BINS = 15


def expected_calibration_error(
    probabilities: npt.NDArray[np.float64], gold: npt.NDArray[np.int64]
) -> float:
    """The expected calibration error of the predicted class (Guo et al., ICML 2017).

    Texts are put into 15 bins of equal width by their confidence, the probability of the
    predicted class; a bin includes its upper edge. The error is the mean over all texts of the
    distance, in the text's bin, between the mean confidence and the accuracy.

    Args:
        probabilities: shape [n, classes].
        gold: class indices, shape [n].

    """
    confidence = probabilities.max(axis=1)
    excess = confidence - (probabilities.argmax(axis=1) == gold)
    places = np.clip(np.ceil(confidence * _BINS).astype(np.int64) - 1, 0, _BINS - 1)
    by_bin = np.bincount(places, weights=excess, minlength=_BINS)
    return float(np.abs(by_bin).sum() / len(gold))


def brier_score(probabilities: npt.NDArray[np.float64], gold: npt.NDArray[np.int64]) -> float:
    """The mean squared distance to the one-hot gold label, summed over classes; from 0 to 2.

    Brier (1950). The shapes are those of `expected_calibration_error`.
    """
    targets = np.eye(probabilities.shape[1])[gold]
    return float(np.mean(np.sum((probabilities - targets) ** 2, axis=1)))
