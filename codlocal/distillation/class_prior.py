"""How often each class is to be expected: as among the originals, not as among their flips.

Counterfactuals even out the classes, as every original brings a text of another one. Where the
teacher gives most texts one label, a student of evened out texts would give the other one too
often. So its logits are trained as those of a model that has learned under the texts' shares of
the classes and is used under the originals' (logit adjustment, Menon et al. 2021, arXiv
2007.07314, section 4).
"""

from collections.abc import Sequence

import torch

from codlocal.distillation.composition import TrainingText

_PSEUDO_TEXTS = 1.0
"""Added to each class's count: of a handful of texts one class may well have none by chance."""


def prior_shift(texts: Sequence[TrainingText], teacher_logits: torch.Tensor) -> torch.Tensor:
    """What is added to the student's logits in training: log(share in texts / in originals).

    Shares are means of the teacher's probabilities, smoothed. Where all texts are originals there
    is nothing to add.

    Args:
        texts: n texts; those with a gold label are originals.
        teacher_logits: float [n, classes].

    Returns:
        float [classes].

    """
    probabilities = teacher_logits.double().softmax(dim=-1)
    is_original = torch.tensor([text.gold is not None for text in texts])
    shift = _log_shares(probabilities) - _log_shares(probabilities[is_original])
    return shift.to(teacher_logits.dtype)


def _log_shares(probabilities: torch.Tensor) -> torch.Tensor:
    counts = probabilities.sum(dim=0) + _PSEUDO_TEXTS
    return counts.log() - counts.sum().log()
