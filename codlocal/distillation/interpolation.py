"""Boundary interpolation: inputs between a text and its counterfactual.

A text and its counterfactual lie on two sides of the teacher's decision boundary, so the segment
between them crosses it (arXiv 2510.21631, section 4). Mixing their input embeddings gives both
models a point of that segment; each model mixes its own embeddings, so tokenizers and widths may
differ.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from typing import Protocol

import torch
from rapidfuzz.distance import Levenshtein

from codlocal.core.errors import ModelError
from codlocal.models.classifier import Classifier


class _Output(Protocol):
    @property
    def logits(self) -> torch.Tensor: ...


@dataclass(frozen=True)
class TokenPair:
    """The token ids of a text and of its counterfactual, for one tokenizer."""

    original: list[int]
    counterfactual: list[int]

    def aligned(self) -> list[tuple[int | None, int | None]]:
        """Tokens side by side: those that both texts have, and what stands between them.

        A token is alone where the other text has fewer between the same two.
        """
        found: list[tuple[int | None, int | None]] = []
        here = there = 0
        for block in Levenshtein.opcodes(self.original, self.counterfactual).as_matching_blocks():
            found += zip_longest(
                self.original[here : block.a], self.counterfactual[there : block.b]
            )
            here, there = block.a + block.size, block.b + block.size
            found += zip(self.original[block.a : here], self.counterfactual[block.b : there],
                         strict=True)  # fmt: skip
        return found


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

    The texts' tokens are aligned and cut as a text is; beside a token that is alone stands padding.

    Args:
        model: `classifier.model`, or a module that calls it and has `logits` in its output.
        classifier: whose embeddings are mixed.
        pairs: m pairs of token ids.
        shares: float [m], the share of the counterfactual: 0 is the text, 1 the counterfactual.

    Returns:
        float [m, classes], in the columns of `model`.

    Raises:
        ModelError: the model does not read its embeddings from one layer.

    """
    # Two texts may align to more places than a model has positions.
    longest = classifier.encoder.max_length
    aligned = [pair.aligned()[:longest] for pair in pairs]
    # Every place counts, whichever text has a token there.
    either = [[next(one for one in places if one is not None) for places in row] for row in aligned]
    inputs = classifier.encoder.collate(either, classifier.device)
    embedding = classifier.model.get_input_embeddings()
    first, second = (
        embedding(_padded(classifier, [[places[side] for places in row] for row in aligned]))
        for side in (0, 1)
    )
    weights = shares.to(first)[:, None, None]
    with _embeddings(embedding, torch.lerp(first, second, weights)):
        output: _Output = model(**inputs)
    return output.logits


def _padded(classifier: Classifier, rows: Sequence[Sequence[int | None]]) -> torch.Tensor:
    pad = classifier.encoder.pad_id
    filled = [[pad if one is None else one for one in row] for row in rows]
    return classifier.encoder.collate(filled, classifier.device)["input_ids"]


@contextmanager
def _embeddings(module: torch.nn.Module, replacement: torch.Tensor) -> Iterator[None]:
    """Have an embedding layer return `replacement` for whatever ids it is given.

    Unlike `inputs_embeds`, this lets heads that look for a text's last token in its ids find it.

    Raises:
        ModelError: the layer was not asked, as the shared one of an encoder and a decoder is not.

    """
    asked = False

    def replace(*_: object) -> torch.Tensor:
        nonlocal asked
        asked = True
        return replacement

    handle = module.register_forward_hook(replace)
    try:
        yield
    finally:
        handle.remove()
    if not asked:
        raise ModelError(
            "The embeddings of this model can't be mixed.",
            "Use --set distillation.interpolation_weight=0.",
        )
