"""The rows and values that stages exchange: frozen, strict, and written to disk as they are.

Labels are class indices into `DatasetSpec.label_names`. Probabilities are the teacher's softmax
output, one per class, summing to 1. Log-probabilities are natural logarithms per token.
"""

from collections.abc import Sequence
from typing import Literal, Protocol, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict
from rapidfuzz.distance import Levenshtein


class Row(BaseModel):
    """A frozen row that refuses unknown fields: what is on disk is exactly what the code knows."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Example(Row):
    """One labelled text. `id` is stable: the split's name and the row number in its source."""

    id: str
    text: str
    label: int


class DatasetSpec(Row):
    """Which data served a run: its source, its label names, its size and its fingerprint."""

    name: str
    source: Literal["bundled", "cache", "hub", "file"]
    location: str
    label_names: tuple[str, ...]
    train_rows: int
    test_rows: int
    dropped_rows: int = 0
    sha256: str
    attribution: str = ""
    task: str = "generic"
    """The prompt family: names the template in `prompts/` that words the task."""


class FewShotSplit(Row):
    """The k labelled texts of one seed, best read as an order: every even prefix is balanced."""

    seed: int
    ids: tuple[str, ...]


class Candidate(Row):
    """One reply of the generator, usable or not. `text` is None exactly when `failure` says why."""

    id: str
    example_id: str
    round: int
    strategy: str
    source_label: int
    target_label: int
    text: str | None
    failure: str | None = None
    reply: str = ""
    finish_reason: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Fluency(Row):
    """Log-probability per token of a text under the generator, without any constraint.

    `token_ids` and `log_probabilities` have the scored tokens one by one, as far as the engine
    tells them. `generated` are the tokens that had to be generated for the sake of the score: a
    server that reads a text can't help saying what comes next.
    """

    mean: float
    worst: float
    tokens: int
    generated: int = 0
    token_ids: tuple[int, ...] = ()
    log_probabilities: tuple[float, ...] = ()

    @property
    def total(self) -> float:
        """The text's log-probability in nats."""
        return self.mean * self.tokens

    def strain(self, edited: "Fluency") -> float | None:
        """By how many nats an edit makes the tokens less likely that it leaves as they are.

        The whole text may become likelier, as a frequent word stands in a place where nothing that
        follows fits: its own tokens hide that. None if there are no tokens to compare.
        """
        if not (self.token_ids and edited.token_ids):
            return None
        blocks = Levenshtein.opcodes(self.token_ids, edited.token_ids)
        return sum(
            sum(self.log_probabilities[one.src_start : one.src_end])
            - sum(edited.log_probabilities[one.dest_start : one.dest_end])
            for one in blocks
            if one.tag == "equal"
        )


class Verdict(Row):
    """What the teacher says of one candidate.

    `edits` counts the tokens that were changed, added or dropped; `edit_distance` is that / the
    original's length, the closeness of the counterfactual literature: 0 is a copy, 1 a rewrite of
    the whole, and a much longer text can exceed 1.

    `length` and `original_length` count tokens, which are words and punctuation marks; `unknown`
    are the words that no training text has, `repeated` is what stands twice in a row, and
    `broken_off` are the words that end a phrase though they hardly ever do, or are parted from the
    one that belongs to them, each more often than in the original. `strain` is that of its fluency.
    `opinion` is the generator's: by how many nats it would rather give the text its new label than
    the original's. It is asked about flips that are good but for it; None, too, if the answer named
    neither label, which costs the token in `opinion_tokens` all the same.
    """

    candidate_id: str
    example_id: str
    probabilities: tuple[float, ...]
    label: int
    flipped: bool
    edits: int
    edit_distance: float
    length: int
    original_length: int
    unknown: tuple[str, ...]
    repeated: tuple[str, ...]
    broken_off: tuple[str, ...]
    fluency: Fluency | None = None
    strain: float | None = None
    opinion: float | None = None
    opinion_tokens: int = 0

    def scored(self, fluency: Fluency | None, original: Fluency | None) -> Self:
        """The verdict with the edit's fluency, and how it strains the rest of the original."""
        if fluency is None:
            return self
        strain = original.strain(fluency) if original else None
        told = fluency.model_copy(update={"token_ids": (), "log_probabilities": ()})
        return self.model_copy(update={"fluency": told, "strain": strain})

    @property
    def scoring_tokens(self) -> int:
        """Generated tokens that score and opinion have cost, beside those of the reply."""
        return (self.fluency.generated if self.fluency else 0) + self.opinion_tokens


class Original(Row):
    """What the teacher and the generator say of one original, before any edit."""

    example_id: str
    probabilities: tuple[float, ...]
    label: int
    fluency: Fluency | None = None


class CounterfactualPair(Row):
    """An original and its verified counterfactual; both labels are the teacher's own.

    It is `wanting` if it was taken for want of a better one: the edit strains the words beside it,
    or teacher and generator together are not sure of its label.
    """

    example_id: str
    candidate_id: str
    text: str
    label: int
    counterfactual: str
    counterfactual_label: int
    edit_distance: float
    target_probability: float
    wanting: bool = False

    @classmethod
    def of(
        cls, text: str, candidate: Candidate, verdict: Verdict, *, wanting: bool = False
    ) -> Self:
        """The pair of an original's text and an edit of it."""
        return cls(
            example_id=candidate.example_id,
            candidate_id=candidate.id,
            text=text,
            label=candidate.source_label,
            counterfactual=candidate.text or "",
            counterfactual_label=verdict.label,
            edit_distance=verdict.edit_distance,
            target_probability=verdict.probabilities[verdict.label],
            wanting=wanting,
        )


class Rejection(Row):
    """A candidate, or an original without any pair, that was not taken on, and why."""

    example_id: str
    candidate_id: str | None
    reason: str
    detail: str = ""


class LossTerms(Row):
    """The terms of the distillation loss at one step, each already multiplied by its weight.

    `layer` compares hidden states, `pair` the step of the logits from an original to its
    counterfactual, `interpolation` the soft outputs between the two, `recombined` soft outputs and
    hidden states of recombined texts; a method without one of them has it at 0.
    """

    task: float
    kl: float
    layer: float = 0.0
    pair: float = 0.0
    interpolation: float = 0.0
    recombined: float = 0.0
    total: float


class Metrics(Row):
    """One classifier on the n texts of a test split.

    `teacher_agreement` is the share of labels that equal the teacher's; `boundary_agreement` the
    same over the `boundary_n` texts of which the teacher is unsure, None where there are none.
    `calibration_error` and `brier` hold the probabilities against the gold labels; 0 is best.
    """

    accuracy: float
    macro_f1: float
    matthews: float
    teacher_agreement: float
    calibration_error: float
    brier: float
    boundary_agreement: float | None
    boundary_n: int
    n: int


class Teacher(Protocol):
    """Anything that gives class probabilities to texts."""

    def predict_proba(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """Return the class probabilities of `texts`, shape [len(texts), classes]."""
        ...
