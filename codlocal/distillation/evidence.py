"""How far a student's evidence can be trusted on texts that it has not seen.

A student learns to be as sure of its few texts as the teacher is, and is then as sure of any other
text, whether it has learned the task or its texts alone. What other texts would bear out is
estimated before training: a logistic head on the start's frozen features is fitted to all groups of
texts but some and asked for those, and the scale of its evidence under which they are likeliest is
kept (temperature scaling, Guo et al. 2017, arXiv 1706.04599, by cross-validation).
"""

import math
from collections.abc import Sequence

import torch

from codlocal.distillation.class_prior import log_shares
from codlocal.distillation.warm_start import fit_head

_FOLDS = 16
_LEAST = 0.02
_NONE = 1e-6
"""Logits that differ by less are the same but for rounding."""
_WIDTH = 1.0
"""Of the log-normal prior of the scale, around 1: few texts leave it near there."""


def trust_in_evidence(
    features: torch.Tensor, teacher_logits: torch.Tensor, groups: Sequence[Sequence[int]]
) -> float:
    """The scale of evidence, as large as the teacher's, that fits texts left out of the fit.

    Evidence is what logits say beyond the shares of the classes. A left out text counts where
    texts of its label were left in; where less than half of them count, nothing can be said.

    Args:
        features: float [n, width], of the student's start.
        teacher_logits: float [n, classes].
        groups: positions of texts that are left out together, as an original and its flip.

    Returns:
        A number in [0.02, 1]; 1 where nothing can be said.

    """
    logits, labels = teacher_logits.double().cpu(), teacher_logits.argmax(dim=-1).cpu()
    shares = log_shares(torch.nn.functional.one_hot(labels, logits.shape[1]))
    probabilities = logits.softmax(dim=-1)
    left_out = torch.zeros_like(logits)
    counts = torch.zeros(len(labels), dtype=torch.bool)
    for fold in range(min(_FOLDS, len(groups))):
        out = [one for group in groups[fold::_FOLDS] for one in group]
        kept = sorted(set(range(len(labels))).difference(out))
        counts[out] = torch.isin(labels[out], labels[kept])
        weight, bias = fit_head(features[kept], probabilities[kept])
        left_out[out] = torch.nn.functional.linear(features[out].double().cpu(), weight, bias)
    if counts.sum() * 2 < len(labels):
        return 1.0
    evidence = left_out - shares
    size = _size(evidence)
    if size < _NONE:
        return 1.0
    evidence = (evidence * (_size(logits - shares) / size))[counts]
    return _likeliest_scale(evidence, probabilities[counts], shares)


def _size(evidence: torch.Tensor) -> float:
    return float((evidence - evidence.mean(dim=-1, keepdim=True)).abs().mean())


def _likeliest_scale(
    evidence: torch.Tensor, probabilities: torch.Tensor, shares: torch.Tensor
) -> float:
    from scipy.optimize import minimize_scalar

    def badness(log_scale: float) -> float:
        scaled = (evidence * math.exp(log_scale) + shares).log_softmax(dim=-1)
        return float(-(probabilities * scaled).sum()) + log_scale**2 / (2 * _WIDTH**2)

    found = minimize_scalar(badness, bounds=(math.log(_LEAST), 0.0), method="bounded")
    return math.exp(found.x)
