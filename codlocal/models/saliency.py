"""Gradient x input: which pieces of a text a classifier's decision rests on, to first order.

It is integrated gradients (Sundararajan et al. 2017) of a single step, at the midpoint.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from codlocal.core.errors import ModelError

if TYPE_CHECKING:
    from codlocal.models.classifier import Classifier

_BATCH = 32

Piece = tuple[int, int, float]
"""Start and end of a word piece in the text, in characters, and its attribution in nats."""


def gradient_times_input(
    classifier: "Classifier", texts: Sequence[str], labels: Sequence[int], others: Sequence[int]
) -> list[list[Piece]]:
    """Attribute each text's logit of a label, less that of another, to its word pieces.

    Texts are truncated as for classification; special tokens have no piece.

    Raises:
        ModelError: the tokenizer can't tell where in the text its pieces come from, or the model
            does not read its embeddings from one layer.

    """
    tokenizer = classifier.encoder.tokenizer
    if not tokenizer.is_fast:
        raise ModelError(
            "This teacher's tokenizer does not tell where its word pieces come from.",
            "Use --attribution occlusion.",
        )
    found: list[list[Piece]] = []
    for start in range(0, len(texts), _BATCH):
        stop = start + _BATCH
        found += _batch(classifier, texts[start:stop], labels[start:stop], others[start:stop])
    return found


def _batch(
    classifier: "Classifier", texts: Sequence[str], labels: Sequence[int], others: Sequence[int]
) -> list[list[Piece]]:
    encoder = classifier.encoder
    encoded = encoder.tokenizer(
        list(texts), truncation=True, max_length=encoder.max_length, return_offsets_mapping=True
    )
    batch = encoder.collate(encoded["input_ids"], classifier.device)
    values = _attributions(classifier, batch, labels, others)
    return [
        [
            (int(first), int(last), float(value))
            for (first, last), value in zip(offsets, row, strict=False)  # the rest is padding
            if first < last
        ]
        for offsets, row in zip(encoded["offset_mapping"], values, strict=True)
    ]


def _attributions(
    classifier: "Classifier",
    batch: dict[str, torch.Tensor],
    labels: Sequence[int],
    others: Sequence[int],
) -> list[list[float]]:
    """Gradient x (embedding - padding), summed over the width; one value a token, [texts, tokens].

    The gradient is taken halfway to a text of padding. At the text itself a sure classifier is
    flat, and behind a layer norm, as in BERT, the gradient is orthogonal to the embedding: there
    the product put another word first than leave-one-out does in nine of ten sentences, here in
    one or two of ten.
    """
    model = classifier.model
    model.train(mode=False)
    special = torch.tensor(classifier.encoder.tokenizer.all_special_ids, device=classifier.device)
    fixed = torch.isin(batch["input_ids"], special)[..., None]
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def halve(_module: torch.nn.Module, _given: object, output: torch.Tensor) -> torch.Tensor:
        offset = torch.where(fixed, torch.zeros_like(output), output - padding).detach()
        seen.append(((output.detach() - offset / 2).requires_grad_(), offset))
        return seen[-1][0]

    embeddings = model.get_input_embeddings()
    with torch.no_grad():
        padding = embeddings(torch.tensor([classifier.encoder.pad_id], device=classifier.device))
    hook = embeddings.register_forward_hook(halve)
    try:
        with torch.enable_grad():
            logits = model(**batch).logits.float()[:, classifier.order]
            rows = torch.arange(len(logits))
            margin = logits[rows, list(labels)] - logits[rows, list(others)]
            if len(seen) != 1:
                raise ModelError(
                    f"The input of a {model.config.model_type} model is out of reach of gradients.",
                    "Use --attribution occlusion.",
                )
            [(halfway, offset)] = seen
            [gradient] = torch.autograd.grad(margin.sum(), [halfway])
    finally:
        hook.remove()
    values: list[list[float]] = (gradient * offset).sum(dim=-1).float().tolist()
    return values
