"""Where the teacher's decision rests: leave-one-out importance of each word.

Source: leave-one-out occlusion (Zeiler & Fergus 2014; Li et al. 2016), as used to guide
counterfactual generation in FitCF (ACL 2025).
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from codlocal.core.records import Teacher
from codlocal.generation.constraint import Span, words


def leave_one_out(
    teacher: Teacher, texts: Sequence[str], labels: Sequence[int]
) -> list[npt.NDArray[np.float64]]:
    """How much the teacher's log-odds of a label fall when one word is left out.

    Args:
        teacher: gives class probabilities.
        texts: n texts.
        labels: the class whose support is measured, one per text.

    Returns:
        For each text an array of one value per word (`constraint.words`), larger for words that
        carry the decision. All shortened texts are scored in one batched call.

    """
    shortened: list[str] = []
    spans = [words(text) for text in texts]
    for text, found in zip(texts, spans, strict=True):
        shortened += [without(text, span) for span in found]
    scores = teacher.predict_proba([*texts, *shortened])
    importance, at = [], len(texts)
    for index, found in enumerate(spans):
        label = labels[index]
        whole = _log_odds(scores[index : index + 1, label])
        parts = _log_odds(scores[at : at + len(found), label])
        importance.append(whole - parts)
        at += len(found)
    return importance


def without(text: str, span: Span) -> str:
    """The text with one word, and the space before it, left out."""
    start = span.start - 1 if text[: span.start].endswith(" ") else span.start
    return (text[:start] + text[span.end :]).strip()


def _log_odds(probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    clipped = np.clip(probabilities, 1e-6, 1 - 1e-6)
    odds: npt.NDArray[np.float64] = np.log(clipped) - np.log1p(-clipped)
    return odds
