"""The hidden states of a classifier's layers, as they are compared."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from codlocal.core.errors import ModelError
from codlocal.models.classifier import Classifier

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_BATCH = 32
_NESTED = {
    "esm": "encoder.emb_layer_norm_after",
    "megatron-bert": "encoder.ln",
    "opt": "decoder.final_layer_norm",
    "xlm-roberta-xl": "encoder.LayerNorm",
}
"""By family, where the last norm is if not beside the layers' own module."""


def compared_states(
    model: "PreTrainedModel", hidden: Sequence[torch.Tensor], layers: Sequence[int]
) -> list[torch.Tensor]:
    """Of all hidden states of a model those of some layers, in a scale that can be compared.

    The blocks of a pre-norm model (decoders, ModernBERT) add to a stream that grows from layer to
    layer, in some tokens a thousandfold, and norm it before they read it: its scale tells them
    nothing, and left in it would hide every other term of a loss. So each token's state is divided
    by its root mean square. Post-norm models (BERT, DeBERTa) norm what they give themselves.

    Args:
        model: whose states they are.
        hidden: embeddings and the states of every layer, float [..., width] each.
        layers: numbers from 1.

    Returns:
        A tensor for each of `layers`, of the shape and number format that it had.

    """
    chosen = [hidden[layer] for layer in layers]
    if not is_pre_norm(model):
        return chosen
    return [functional.rms_norm(one.float(), one.shape[-1:]).to(one.dtype) for one in chosen]


def is_pre_norm(model: "PreTrainedModel") -> bool:
    """Whether the blocks of a model leave their sum to a norm after the last of them."""
    body = model.base_model
    if _NESTED.get(model.config.model_type) in dict(body.named_modules()):
        return True
    return any(
        type(part).__name__.endswith("Norm") and "emb" not in name
        for name, part in body.named_children()
    )


def hidden_states(
    classifier: Classifier, inputs: Mapping[str, torch.Tensor], layers: Sequence[int]
) -> torch.Tensor:
    """The `compared_states` of some layers, numbered from 1, for a batch of n texts.

    Returns:
        float [layers, n, tokens, width].

    Raises:
        ModelError: the model does not give them.

    """
    output = classifier.model(**inputs, output_hidden_states=True)
    hidden = getattr(output, "hidden_states", None) or ()  # an encoder-decoder has two kinds
    if len(hidden) <= max(layers):
        raise ModelError(
            f"A {classifier.model.config.model_type} model does not give the hidden states of all "
            "its layers.",
            "Use --method kd.",
        )
    return torch.stack(compared_states(classifier.model, hidden, layers))


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


def last_token(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The last token that counts of each text, whose tokens are padded on the right.

    Args:
        states: float [n, tokens, width].
        mask: [n, tokens], 1 where a token counts.

    Returns:
        float [n, width].

    """
    return states[torch.arange(len(mask), device=mask.device), mask.sum(dim=1) - 1]


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
