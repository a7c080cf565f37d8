"""A head fitted on frozen features, so that fine-tuning starts from a head that already works.

Fine-tuning from a random head distorts good features in its first steps; fitting the head first
avoids it (LP-FT: Kumar et al., ICLR 2022, arXiv 2202.10054).
"""

from collections.abc import Mapping, Sequence

import torch
from torch.nn import functional

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
    inputs, goal = inputs.double().cpu(), targets.double().cpu()
    weight = torch.zeros(goal.shape[1], inputs.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(goal.shape[1], dtype=torch.float64, requires_grad=with_bias)
    optimizer = torch.optim.LBFGS(
        [weight, bias] if with_bias else [weight],
        max_iter=_ITERATIONS,
        tolerance_grad=1e-8,
        tolerance_change=1e-12,
        line_search_fn="strong_wolfe",
    )

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        logits = functional.linear(inputs, weight, bias)
        fit = functional.cross_entropy(logits, goal, reduction="sum")
        loss = fit + _PENALTY / 2 * weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return weight.detach(), bias.detach()


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
