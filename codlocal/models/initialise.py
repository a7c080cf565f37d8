"""A classifier to be trained: a pretrained body, as many of its layers as asked, a fresh head."""

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from codlocal.core.errors import ModelError
from codlocal.models.classifier import Classifier
from codlocal.models.devices import device_of
from codlocal.models.labels import column_order, names_of
from codlocal.models.loading import load_encoder, load_model, place
from codlocal.models.locate import check_folder
from codlocal.models.trainable import (
    is_decoder,
    pooling_options,
    refuse_more_layers,
    refuse_quantized,
)

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel


def new_classifier(
    path: Path,
    label_names: Sequence[str],
    *,
    layers: int | None = None,
    pooling: str | None = None,
    seed: int = 0,
    device: str = "auto",
    max_length: int = 256,
) -> Classifier:
    """Load a body in float32 and put a head drawn from `seed` on it, whatever head it had.

    `layers` keeps that many of its layers (`kept_layers`). `pooling` has the head read a text's
    "first" token or the "mean" of its tokens; None leaves it as it is.

    Raises:
        ModelError: the folder can't be loaded, is quantised, has fewer layers, or its family has
            one pooling.

    """
    check_folder(path)
    refuse_quantized(path)
    names = tuple(label_names)
    options = pooling_options(path, pooling)
    # Weights that the checkpoint lacks (a pooler, say) are drawn from the global generator.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = load_model(
            path,
            whole=False,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            num_labels=len(names),
            id2label=dict(enumerate(names)),
            label2id={name: index for index, name in enumerate(names)},
            **options,
        )
        if layers is not None:
            model = keep_layers(model, layers)
    model.config.problem_type = None
    _draw_head(model, seed)
    encoder = load_encoder(path, model, max_length)
    place(model, device_of(device))
    return Classifier(model, encoder, names, list(range(len(names))))


def shortened_classifier(
    path: Path,
    label_names: Sequence[str],
    *,
    layers: int | None = None,
    device: str = "auto",
    max_length: int = 256,
) -> Classifier:
    """Load a classifier in float32 with some of its layers (`kept_layers`), and keep its head.

    `layers` is how many to keep, by default half of them. The columns of its logits are put in
    the order of `label_names`.

    Raises:
        ModelError: the folder can't be loaded, is quantised, has fewer layers or other labels.

    """
    check_folder(path)
    refuse_quantized(path)
    names = tuple(label_names)
    model = load_model(path, dtype=torch.float32)
    order = column_order(names_of(model.config.id2label), names)
    model = keep_layers(model, layers or max(1, model.config.num_hidden_layers // 2))
    _reorder(output_layer(model), order)
    model.config.id2label = dict(enumerate(names))
    model.config.label2id = {name: index for index, name in enumerate(names)}
    model.config.problem_type = None  # or pipelines would read one of several labels by sigmoids
    encoder = load_encoder(path, model, max_length)
    place(model, device_of(device))
    return Classifier(model, encoder, names, list(range(len(names))))


def output_layer(model: "PreTrainedModel") -> torch.nn.Linear:
    """The linear layer of a classification head that gives the logits.

    Raises:
        ModelError: the head has no such layer.

    """
    found = [
        module
        for name, part in model.named_children()
        if name != model.base_model_prefix
        for module in part.modules()
        if isinstance(module, torch.nn.Linear) and module.out_features == model.config.num_labels
    ]
    if not found:
        raise ModelError(
            f"The head of a {model.config.model_type} model ends in no linear layer.",
            "Use --student-init pretrained and --warm-start none.",
        )
    return found[-1]


def _reorder(layer: torch.nn.Linear, order: list[int]) -> None:
    with torch.no_grad():
        layer.weight.copy_(layer.weight[order].clone())
        if layer.bias is not None:
            layer.bias.copy_(layer.bias[order].clone())


def _draw_head(model: "PreTrainedModel", seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    deviation = getattr(model.config, "initializer_range", 0.02)
    for name, part in model.named_children():
        if name == model.base_model_prefix:
            continue
        for module in part.modules():
            if isinstance(module, torch.nn.Linear):
                with torch.no_grad():
                    module.weight.normal_(std=deviation, generator=generator)
                    if module.bias is not None:
                        module.bias.zero_()


def kept_layers(family: str, count: int, kept: int) -> list[int]:
    """Indices of the layers that a student of `kept` layers takes of a model with `count`.

    Those of an encoder are evenly spaced, with the last: 6, 3 -> 1, 3, 5. A decoder's are its
    first ones: what a text is about is known half way, the rest is for the word that comes next,
    and a decoder with gaps says nothing of use.
    """
    if is_decoder(family):
        return list(range(kept))
    return [round((index + 1) * count / kept) - 1 for index in range(kept)]


def keep_layers(model: "PreTrainedModel", kept: int) -> "PreTrainedModel":
    """Return a model with `kept` layers of another (`kept_layers`), all else being equal.

    Raises:
        ModelError: the model has fewer layers, or keeps them in an unknown place.

    """
    count = model.config.num_hidden_layers
    if kept == count:
        return model
    refuse_more_layers(count, kept)
    chosen = kept_layers(model.config.model_type, count, kept)
    # Built anew rather than cut in place: what a layer consists of may depend on its position.
    try:
        shorter = type(model)(_shorter_config(model.config, count, chosen))
        shorter.load_state_dict(_renumbered(model, _layer_list(model, count), chosen), strict=False)
    except (AssertionError, NotImplementedError, RuntimeError) as error:
        # Of Longformer, of Funnel, and of ESM, a part of which is as wide as there are layers.
        raise _fixed_layers(model) from error
    return shorter


def _layer_list(model: "PreTrainedModel", count: int) -> str:
    modules: Iterator[tuple[str, torch.nn.Module]] = model.named_modules()
    for name, module in modules:
        if isinstance(module, torch.nn.ModuleList) and len(module) == count:
            return name
    raise _fixed_layers(model)


def _fixed_layers(model: "PreTrainedModel") -> ModelError:
    return ModelError(
        f"The layers of a {model.config.model_type} model can't be dropped.",
        "Leave distillation.student_layers unset.",
    )


def _renumbered(
    model: "PreTrainedModel", layer_list: str, chosen: list[int]
) -> dict[str, torch.Tensor]:
    positions = {str(index): position for position, index in enumerate(chosen)}
    state = {}
    for name, tensor in model.state_dict().items():
        if not name.startswith(f"{layer_list}."):
            state[name] = tensor
            continue
        index, rest = name[len(layer_list) + 1 :].split(".", 1)
        position = positions.get(index)
        if position is not None:
            state[f"{layer_list}.{position}.{rest}"] = tensor
    return state


def _shorter_config(
    config: "PreTrainedConfig", count: int, chosen: list[int]
) -> "PreTrainedConfig":
    shorter = copy.deepcopy(config)
    for name, value in config.to_dict().items():
        if "layer" in name and isinstance(value, list) and len(value) == count:
            setattr(shorter, name, [value[index] for index in chosen])
    shorter.num_hidden_layers = len(chosen)
    return shorter
