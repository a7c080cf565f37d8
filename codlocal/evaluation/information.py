"""What a set of training texts tells of a linear head: its Fisher information.

The paper's argument for counterfactuals (arXiv 2510.21631, section 3): a text that the teacher
gives the probability p adds p(1 - p) x x^T to the information of a logistic head on features x,
which is largest on the boundary.
"""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def spread(probabilities: Array) -> Array:
    """The weight of each text: (1 - sum of p^2) / 2, which is p(1 - p) for two classes.

    Args:
        probabilities: the teacher's, shape [n, classes].

    Returns:
        Shape [n].

    """
    weights: Array = (1 - np.sum(probabilities**2, axis=1)) / 2
    return weights


def fisher_trace(probabilities: Array) -> float:
    """The trace of the information under features of length 1: the sum of the texts' weights.

    Args:
        probabilities: the teacher's, shape [n, classes].

    """
    return float(spread(probabilities).sum())


def fisher_log_determinant(features: Array, probabilities: Array) -> float:
    """The log-determinant of 1 + information: that of a head under a unit Gaussian prior.

    Unlike the trace it rewards texts that tell of different directions (D-optimality). It is
    computed from the [n, n] Gram matrix, which gives the same determinant.

    Args:
        features: shape [n, width]; scaled to length 1 here, so that encoders compare.
        probabilities: the teacher's, shape [n, classes].

    """
    scale = np.sqrt(spread(probabilities)) / np.linalg.norm(features, axis=1)
    scaled = features * scale[:, None]
    _, value = np.linalg.slogdet(np.eye(len(scaled)) + scaled @ scaled.T)
    return float(value)
