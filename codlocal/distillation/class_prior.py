"""How often each class is to be expected: as among the originals, not as among their flips.

Counterfactuals even out the classes, as every original brings a text of another one. Where the
teacher gives most texts one label, a student of evened out texts would give the other one too
often. So its logits are trained as those of a model that has learned under the texts' shares of
the classes and is used under the originals' (logit adjustment, Menon et al. 2021, arXiv
2007.07314, section 4). The draw itself is no part of it: it takes the classes in turns, and which
of them an unfinished turn has come to says nothing of how often they come. Where a student can't be
as sure of other texts as it is of its own (see `evidence`), what the originals say of the classes
counts for more.
"""

import torch
from torch.nn.functional import one_hot

from codlocal.distillation.composition import TrainingSet

_PSEUDO_TEXTS = 1.0
"""Added to each class's count: of a handful of texts one class may well have none by chance."""


def prior_shift(
    training_set: TrainingSet, teacher_logits: torch.Tensor, trust: float = 1.0
) -> torch.Tensor:
    """What is added to the student's logits in training.

    It is log(share in texts) - weight * log(share in originals / share in their draw), with
    smoothed shares: of the labels that the teacher gives, and of the gold ones for the draw. Of the
    originals those count that were drawn: what fills up their number was chosen to even out the
    classes. The weight is 1 / trust, but never so large that the shares alone outweigh what the
    teacher says of an ordinary text. The shift's mean is 0.

    Args:
        training_set: n texts.
        teacher_logits: float [n, classes].
        trust: the part of the student's evidence that other texts bear out (`evidence`), in (0, 1].

    Returns:
        float [classes].

    """
    classes = teacher_logits.shape[1]
    labels = one_hot(teacher_logits.argmax(dim=-1), classes)
    drawn = _drawn(training_set)
    draw = log_shares(one_hot(torch.tensor([gold for _, gold in drawn]), classes))
    # Against the most frequent class, so that an even draw takes exactly nothing away.
    expected = log_shares(labels[[at for at, _ in drawn]]) - (draw - draw.max())
    best = teacher_logits.double().topk(2, dim=-1).values
    margin = float((best[:, 0] - best[:, 1]).mean())
    spread = float(expected.max() - expected.min())
    weight = 1 / trust
    if spread * weight > margin:
        weight = max(1.0, margin / spread)
    shift = log_shares(labels) - weight * expected
    return (shift - shift.mean()).to(teacher_logits.dtype)


def log_shares(labels: torch.Tensor) -> torch.Tensor:
    """The log of each class's smoothed share of n texts; `labels` is one-hot [n, classes]."""
    counts = labels.sum(dim=0).double() + _PSEUDO_TEXTS
    return counts.log() - counts.sum().log()


def _drawn(training_set: TrainingSet) -> list[tuple[int, int]]:
    """Positions and gold labels of the originals as drawn; of all of them where all are fill."""
    texts = enumerate(training_set.texts)
    originals = [(at, text.gold) for at, text in texts if text.gold is not None]
    return originals[: len(originals) - training_set.fill] or originals
