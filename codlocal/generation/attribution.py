"""Where an edit can change the teacher's decision, and where the decision rests.

Two questions to the teacher about each word, both batched: what if it were left out (leave-one-out
occlusion, Zeiler & Fergus 2014, Li et al. 2016), and what if a word typical of the target class
stood in its place. The second finds the places that matter where the decision rests on several
words at once, so that leaving out one of them changes nothing.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from codlocal.core.records import Teacher
from codlocal.generation.constraint import Span, words

_VOCABULARY = 2000
"""Candidate probe words; more are rare words, about which a teacher knows little."""


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


def probe_words(
    teacher: Teacher, texts: Iterable[str], classes: int, count: int = 3
) -> list[list[str]]:
    """The words that, alone, speak most strongly for each class, among the texts' frequent words.

    Returns:
        For each class `count` words, fewer if the texts have fewer.

    """
    frequency = Counter(
        word.lower()
        for text in texts
        for span in words(text)
        if (word := _cut(text, span)).isalpha()
    )
    vocabulary = sorted(frequency, key=lambda word: (-frequency[word], word))[:_VOCABULARY]
    if not vocabulary:
        return [[] for _ in range(classes)]
    scores = teacher.predict_proba(vocabulary)
    order = np.argsort(-scores, axis=0, kind="stable")[:count]
    return [[vocabulary[index] for index in order[:, label]] for label in range(classes)]


def substitution(
    teacher: Teacher,
    texts: Sequence[str],
    targets: Sequence[int],
    probes: Sequence[Sequence[str]],
) -> list[npt.NDArray[np.float64]]:
    """How much the log-odds of a target class rise when a probe word of it replaces one word.

    Args:
        teacher: gives class probabilities.
        texts: n texts.
        targets: the class to be reached, one per text.
        probes: words that speak for a class, one list per class.

    Returns:
        For each text one value per word, the mean over the target's probe words.

    """
    changed: list[str] = []
    for text, target in zip(texts, targets, strict=True):
        changed += [
            text[: span.start] + probe + text[span.end :]
            for span in words(text)
            for probe in probes[target]
        ]
    scores = teacher.predict_proba([*texts, *changed])
    gains, at = [], len(texts)
    for index, (text, target) in enumerate(zip(texts, targets, strict=True)):
        shape = (len(words(text)), len(probes[target]))
        size = shape[0] * shape[1]
        before = _log_odds(scores[index : index + 1, target])
        after = _log_odds(scores[at : at + size, target]).reshape(shape)
        gains.append((after - before).mean(axis=1) if size else np.zeros(shape[0]))
        at += size
    return gains


def _cut(text: str, span: Span) -> str:
    return text[span.start : span.end]


def without(text: str, span: Span) -> str:
    """The text with one word, and the space before it, left out."""
    start = span.start - 1 if text[: span.start].endswith(" ") else span.start
    return (text[:start] + text[span.end :]).strip()


def _log_odds(probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    clipped = np.clip(probabilities, 1e-6, 1 - 1e-6)
    odds: npt.NDArray[np.float64] = np.log(clipped) - np.log1p(-clipped)
    return odds
