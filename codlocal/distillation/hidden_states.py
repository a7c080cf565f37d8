"""The hidden states of a classifier's layers."""

from collections.abc import Mapping, Sequence

import torch

from codlocal.core.errors import ModelError
from codlocal.models.classifier import Classifier

_BATCH = 32


def hidden_states(
    classifier: Classifier, inputs: Mapping[str, torch.Tensor], layers: Sequence[int]
) -> torch.Tensor:
    """The states of some layers, numbered from 1, for a batch of n texts.

    Returns:
        float [layers, n, tokens, width].

    Raises:
        ModelError: the model does not give them.

    """
    hidden = classifier.model(**inputs, output_hidden_states=True).hidden_states
    if len(hidden) <= max(layers):
        raise ModelError(
            f"A {classifier.model.config.model_type} model does not give the hidden states of all "
            "its layers.",
            "Use --method kd.",
        )
    return torch.stack([hidden[layer] for layer in layers])


def layer_means(
    classifier: Classifier, texts: Sequence[str], layers: Sequence[int]
) -> torch.Tensor:
    """Means over each text's tokens of the states of some layers, without dropout.

    Returns:
        float32 [layers, len(texts), width], where the model is.

    Raises:
        ModelError: the model does not give its hidden states.

    """
    classifier.model.train(mode=False)
    rows = classifier.encoder.encode(texts)
    parts = []
    with torch.no_grad():
        for start in range(0, len(rows), _BATCH):
            inputs = classifier.encoder.collate(rows[start : start + _BATCH], classifier.device)
            states = hidden_states(classifier, inputs, layers).float()
            parts.append(mean_over_tokens(states, inputs["attention_mask"]).squeeze(-2))
    return torch.cat(parts, dim=1)


def mean_over_tokens(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Means over the tokens that count.

    Args:
        states: float [..., n, tokens, width].
        mask: [n, tokens], 1 where a token counts.

    Returns:
        float [..., n, 1, width].

    """
    weights = mask.to(states.dtype)[:, :, None]
    return (states * weights).sum(dim=-2, keepdim=True) / weights.sum(dim=-2, keepdim=True)
