"""A head fitted on frozen features, so that fine-tuning starts from a head that already works.

Fine-tuning from a random head distorts good features in its first steps; fitting the head first
avoids it (LP-FT: Kumar et al., ICLR 2022, arXiv 2202.10054).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch

from codlocal.core.errors import ModelError
from codlocal.models.classifier import Classifier
from codlocal.models.initialise import output_layer

_PENALTY = 1.0
_ITERATIONS = 500


def warm_start_head(
    student: Classifier, texts: Sequence[str], teacher_logits: torch.Tensor
) -> None:
    """Replace the last layer of a student's head by the one that fits the teacher best.

    Args:
        student: changed in place; its body stays as it is.
        texts: n texts.
        teacher_logits: float [n, classes].

    Raises:
        ModelError: the head ends in no linear layer, or the features are not finite.

    """
    layer = output_layer(student.model)
    targets = teacher_logits.double().softmax(dim=-1)
    weight, bias = fit_head(
        head_features(student, texts), targets, with_bias=layer.bias is not None
    )
    with torch.no_grad():
        layer.weight.copy_(weight)
        if layer.bias is not None:
            layer.bias.copy_(bias)


def fit_head(
    inputs: torch.Tensor, targets: torch.Tensor, *, with_bias: bool = True
) -> tuple[torch.Tensor, torch.Tensor]:
    """Multinomial logistic regression on soft labels with an L2 penalty, by L-BFGS.

    Minimises the sum of cross-entropies + 1/2 * ||weight||^2, which is convex: scikit-learn's
    `LogisticRegression` with its default C = 1, for targets that are distributions.

    Args:
        inputs: float [n, width], the features.
        targets: float [n, classes], rows that sum to 1.
        with_bias: whether to fit a bias, which is not penalised; else it is 0.

    Returns:
        The weight, float64 [classes, width], and the bias, float64 [classes].

    """
    from scipy.optimize import minimize
    from scipy.special import log_softmax

    features, goal = inputs.double().cpu().numpy(), targets.double().cpu().numpy()
    shape = goal.shape[1], features.shape[1] + 1  # the last column is the bias

    def loss_and_gradient(
        flat: npt.NDArray[np.float64],
    ) -> tuple[float, npt.NDArray[np.float64]]:
        weight, bias = np.split(flat.reshape(shape), [-1], axis=1)
        logs = log_softmax(features @ weight.T + bias.T, axis=1)
        errors = np.exp(logs) - goal
        loss = -(goal * logs).sum() + _PENALTY / 2 * np.square(weight).sum()
        slope = with_bias * errors.sum(axis=0)  # without one the bias stays where it starts: at 0
        gradient = np.column_stack([errors.T @ features + _PENALTY * weight, slope])
        return float(loss), gradient.ravel()

    found = minimize(
        loss_and_gradient,
        np.zeros(shape[0] * shape[1]),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": _ITERATIONS, "gtol": 1e-8, "ftol": 1e-13},
    )
    fitted = torch.from_numpy(found.x.reshape(shape))
    return fitted[:, :-1], fitted[:, -1]


def head_features(student: Classifier, texts: Sequence[str]) -> torch.Tensor:
    """What a classifier's last linear layer is given for each text, without dropout.

    Returns:
        float [len(texts), width].

    Raises:
        ModelError: they are not finite.

    """
    student.model.train(mode=False)
    with torch.inference_mode():
        parts = [
            features(student, student.model, student.encoder.collate([row], student.device))
            for row in student.encoder.encode(texts)
        ]
    found = torch.cat(parts).float().clone()
    if not found.isfinite().all():
        raise ModelError("The student's features are not finite.", "Use another student.")
    return found


def features(
    student: Classifier, model: torch.nn.Module, inputs: Mapping[str, torch.Tensor]
) -> torch.Tensor:
    """What a classifier's last linear layer is given for a batch of n texts.

    Args:
        student: whose layer it is.
        model: `student.model`, or a module that calls it.
        inputs: `input_ids` and `attention_mask`, [n, tokens], padded on the right.

    Returns:
        float [n, width], with gradient where that is on.

    """
    seen: list[torch.Tensor] = []
    handle = output_layer(student.model).register_forward_pre_hook(
        lambda _, given: seen.append(given[0])
    )
    try:
        model(**inputs)
    finally:
        handle.remove()
    found = seen.pop()
    if found.ndim == 3:
        # Decoders score every token; the last one counts that has another id than padding.
        ids = inputs["input_ids"]
        places = torch.arange(ids.shape[1], device=ids.device)
        last = (places * (ids != student.encoder.pad_id)).argmax(dim=1)
        found = found[torch.arange(len(last), device=found.device), last]
    return found
