"""Boundary interpolation: inputs between a text and its counterfactual.

A text and its counterfactual lie on two sides of the teacher's decision boundary, so the segment
between them crosses it (arXiv 2510.21631, section 4). Mixing their input embeddings gives both
models a point of that segment; each model mixes its own embeddings, so tokenizers and widths may
differ.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch

from codlocal.models.classifier import Classifier


class _Output(Protocol):
    @property
    def logits(self) -> torch.Tensor: ...


@dataclass(frozen=True)
class TokenPair:
    """The token ids of a text and of its counterfactual, for one tokenizer."""

    original: list[int]
    counterfactual: list[int]


def pairs_in(batch: Sequence[int], groups: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
    """The pairs (original, counterfactual) of a batch of text positions, in order of the groups."""
    members = set(batch)
    found = ((group[0], other) for group in groups for other in group[1:])
    return [pair for pair in found if members.issuperset(pair)]


def mixed_logits(
    model: torch.nn.Module,
    classifier: Classifier,
    pairs: Sequence[TokenPair],
    shares: torch.Tensor,
) -> torch.Tensor:
    """Logits of inputs between a text and its counterfactual.

    Both texts are padded to the longer one's length, and a token counts where either has one.

    Args:
        model: `classifier.model`, or a module that calls it and has `logits` in its output.
        classifier: whose embeddings are mixed.
        pairs: m pairs of token ids.
        shares: float [m], the share of the counterfactual: 0 is the text, 1 the counterfactual.

    Returns:
        float [m, classes], in the columns of `model`.

    """
    longer = [max(pair.original, pair.counterfactual, key=len) for pair in pairs]
    inputs = classifier.encoder.collate(longer, classifier.device)
    width = inputs["input_ids"].shape[1]
    embedding = classifier.model.get_input_embeddings()
    first, second = (
        embedding(_padded(classifier, rows, width))
        for rows in (
            [pair.original for pair in pairs],
            [pair.counterfactual for pair in pairs],
        )
    )
    weights = shares.to(first)[:, None, None]
    with _embeddings(embedding, torch.lerp(first, second, weights)):
        output: _Output = model(**inputs)
    return output.logits


def _padded(classifier: Classifier, rows: Sequence[list[int]], width: int) -> torch.Tensor:
    pad = classifier.encoder.pad_id
    ids = [[*row, *[pad] * (width - len(row))] for row in rows]
    return torch.tensor(ids, device=classifier.device)


@contextmanager
def _embeddings(module: torch.nn.Module, replacement: torch.Tensor) -> Iterator[None]:
    """Have an embedding layer return `replacement` for whatever ids it is given.

    Unlike `inputs_embeds`, this lets heads that look for a text's last token in its ids find it.
    """

    def replace(*_: object) -> torch.Tensor:
        return replacement

    handle = module.register_forward_hook(replace)
    try:
        yield
    finally:
        handle.remove()
