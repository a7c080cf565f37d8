"""Training the embeddings of those tokens alone that the training texts have.

A vocabulary holds most weights of a small model, and a handful of texts reaches few of its rows.
The others never get a gradient, yet AdamW would hold moments of them, go through them in every
step, and shrink them by its weight decay. Left out, they stay as they were pretrained.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn import Embedding, Module, Parameter

from codlocal.models.classifier import Classifier


@contextmanager
def only_seen_tokens(classifier: Classifier, texts: Iterable[str]) -> Iterator[None]:
    """Within it, the embedding's weight has a row for each token of `texts`, and no other.

    Token ids are what they were. A token that no text has is an IndexError. Embeddings that don't
    train, or whose weight another module shares, are left as they are.
    """
    embedding = classifier.model.get_input_embeddings()
    if not (isinstance(embedding, Embedding) and _is_trained_alone(classifier.model, embedding)):
        yield
        return
    whole, padding = embedding.weight, embedding.padding_idx
    pads = {classifier.encoder.pad_id} | ({padding} if padding is not None else set())
    rows = classifier.encoder.encode(list(texts))
    seen = torch.tensor(sorted(pads.union(*rows)), device=whole.device)
    place = torch.full((len(whole),), len(seen), device=whole.device)
    place[seen] = torch.arange(len(seen), device=whole.device)

    def to_place(_module: Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return (place.to(inputs[0].device)[inputs[0]], *inputs[1:])

    hook = embedding.register_forward_pre_hook(to_place)
    embedding.weight = Parameter(whole.detach()[seen])
    embedding.padding_idx = None if padding is None else int(place[padding])
    try:
        yield
    finally:
        hook.remove()
        with torch.no_grad():
            whole[seen] = embedding.weight.to(whole)
        embedding.weight, embedding.padding_idx = whole, padding


def _is_trained_alone(model: Module, embedding: Embedding) -> bool:
    owners = [
        one
        for one in model.modules()
        if any(weight is embedding.weight for weight in one.parameters(recurse=False))
    ]
    return embedding.weight.requires_grad and len(owners) == 1
