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

    It is log(share in texts) - log(expected share), where shares are smoothed means of the
    teacher's probabilities: a call by a hair says little of the classes. Expected is the share
    among originals of an even draw that the teacher calls as gold has them, times (share among the
    originals / their share if it called them so) ** weight. Of the originals those count that were
    drawn: what fills up their number was chosen to even out the classes. The weight is 1 / trust,
    but never so large that calls against gold outweigh what the teacher says of an ordinary text.
    The shift's mean is 0.

    Args:
        training_set: n texts.
        teacher_logits: float [n, classes].
        trust: the part of the student's evidence that other texts bear out (`evidence`), in (0, 1].

    Returns:
        float [classes].

    """
    logits = teacher_logits.double()
    probabilities = logits.softmax(dim=-1)
    drawn = _drawn(training_set)
    said = probabilities[[at for at, _ in drawn]]
    gold = torch.tensor([label for _, label in drawn])
    as_gold = _if_called(said, gold)
    beyond_gold = log_shares(said) - log_shares(as_gold)
    best = logits.topk(2, dim=-1).values
    margin = float((best[:, 0] - best[:, 1]).mean())
    spread = float(beyond_gold.max() - beyond_gold.min())
    weight = min(1 / trust, margin / spread) if spread else 1.0
    expected = log_shares(_evenly_drawn(as_gold, gold)) + weight * beyond_gold
    shift = log_shares(probabilities) - expected
    return (shift - shift.mean()).to(teacher_logits.dtype)


def log_shares(labels: torch.Tensor) -> torch.Tensor:
    """The log of each class's smoothed share of labels, [n, classes], one-hot or probabilities."""
    counts = labels.sum(dim=0).double() + _PSEUDO_TEXTS
    return counts.log() - counts.sum().log()


def _if_called(probabilities: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The probabilities [n, classes] with the largest and that of the label [n] exchanged."""
    largest, at = probabilities.max(dim=-1, keepdim=True)
    wanted = labels.unsqueeze(dim=-1)
    exchanged = probabilities.scatter(-1, at, probabilities.gather(-1, wanted))
    return exchanged.scatter(-1, wanted, largest)


def _evenly_drawn(probabilities: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The rows weighted so that each label counts the same, and one row for all other classes.

    Those, which no text has, get each what one of the labels that are there has in the mean.
    """
    counts = one_hot(labels, probabilities.shape[1]).sum(dim=0)
    part = len(labels) / int((counts > 0).sum())
    rows = probabilities * (part / counts[labels]).unsqueeze(dim=-1)
    return torch.cat([rows, (part * (counts == 0)).unsqueeze(dim=0)])


def _drawn(training_set: TrainingSet) -> list[tuple[int, int]]:
    """Positions and gold labels of the originals as drawn: of all where there are no others."""
    texts = training_set.texts
    originals = [(at, text.gold) for at, text in enumerate(texts) if text.gold is not None]
    if len(originals) == len(texts):
        return originals
    return originals[: len(originals) - training_set.fill] or originals
