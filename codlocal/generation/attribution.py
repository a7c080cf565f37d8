"""Where an edit can change the teacher's decision, and where the decision rests.

Two questions to the teacher about each word of a text: what if it were left out (leave-one-out
occlusion, Zeiler & Fergus 2014, Li et al. 2016), and what if a word typical of the target class
stood in its place. The second finds the places that matter where the decision rests on several
words at once, so that leaving out one of them changes nothing.
"""

from collections.abc import Iterable, Sequence
from itertools import chain, islice
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from codlocal.core.errors import ConfigError
from codlocal.core.records import Teacher
from codlocal.generation.constraint import Span, words
from codlocal.generation.lexicon import log_odds

_AT_ONCE = 512
"""Changed texts in memory together: of a long text there are thousands."""


def leave_one_out(teacher: Teacher, text: str, label: int) -> npt.NDArray[np.float64]:
    """How much the teacher's log-odds of a label fall when one word is left out.

    One value per word (`constraint.words`), larger for words that carry the decision, 0 for those
    that the teacher does not read. It is asked `_AT_ONCE` texts at a time.
    """
    spans = words(text)
    losses = np.zeros(len(spans))
    read = _read(teacher, text, spans)
    odds = _odds(teacher, text, (without(text, span) for span in read), label)
    losses[: len(read)] = odds[0] - odds[1:]
    return losses


def substitution(
    teacher: Teacher, text: str, target: int, probes: Sequence[str]
) -> npt.NDArray[np.float64]:
    """How much the log-odds of a target class rise when a probe word of it replaces one word.

    One value per word, the mean over the probe words, which speak for the target; 0 without any,
    and for words that the teacher does not read.
    """
    spans = words(text)
    gains = np.zeros(len(spans))
    read = _read(teacher, text, spans)
    if not read or not probes:
        return gains
    changed = (text[: span.start] + probe + text[span.end :] for span in read for probe in probes)
    odds = _odds(teacher, text, changed, target)
    gains[: len(read)] = (odds[1:] - odds[0]).reshape(len(read), len(probes)).mean(axis=1)
    return gains


@runtime_checkable
class Bounded(Protocol):
    """A teacher that reads no more than the beginning of a long text."""

    def characters_read(self, text: str) -> int:
        """How many characters of a text it reads."""
        ...


def _read(teacher: Teacher, text: str, spans: Sequence[Span]) -> Sequence[Span]:
    """The first words of a text, as far as the teacher reads: it tokenizes whole texts for each."""
    if not isinstance(teacher, Bounded):
        return spans
    end = teacher.characters_read(text)
    return [span for span in spans if span.start < end]


def _odds(
    teacher: Teacher, text: str, changed: Iterable[str], label: int
) -> npt.NDArray[np.float64]:
    """The log-odds of a label for a text and for what it was changed to, one value each."""
    asked, parts = chain([text], changed), []
    while some := list(islice(asked, _AT_ONCE)):
        parts.append(teacher.predict_proba(some)[:, label])
    return log_odds(np.concatenate(parts))


def without(text: str, span: Span) -> str:
    """The text with one word, and the space before it, left out."""
    start = span.start - 1 if text[: span.start].endswith(" ") else span.start
    return (text[:start] + text[span.end :]).strip()


@runtime_checkable
class Differentiable(Protocol):
    """A teacher that can tell how its decision depends on its input."""

    def gradient_times_input(
        self, texts: Sequence[str], labels: Sequence[int], others: Sequence[int]
    ) -> list[list[tuple[int, int, float]]]:
        """Per text the start, end and attribution of each word piece."""
        ...


def gradient(
    teacher: Teacher, texts: Sequence[str], labels: Sequence[int], others: Sequence[int]
) -> list[npt.NDArray[np.float64]]:
    """Gradient x input (Shrikumar et al. 2016) of one label's logit less another's, by word.

    One pass forward and one back for a text, where the questions above take several a word; a
    linear reading of the decision, so a coarser one.

    Returns:
        For each text one value per word, the sum over its word pieces.

    Raises:
        ConfigError: the teacher has no gradients.

    """
    if not isinstance(teacher, Differentiable):
        raise ConfigError(
            "This teacher has no gradients to attribute its decisions by.",
            "Use --attribution occlusion, which asks for probabilities only.",
        )
    pieces = teacher.gradient_times_input(texts, labels, others)
    return [_by_word(text, found) for text, found in zip(texts, pieces, strict=True)]


def _by_word(text: str, pieces: Sequence[tuple[int, int, float]]) -> npt.NDArray[np.float64]:
    """Sum word pieces onto the words that they overlap."""
    return np.array(
        [
            sum(value for start, end, value in pieces if start < span.end and span.start < end)
            for span in words(text)
        ],
        dtype=np.float64,
    )
