import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tiny import tiny_model
from transformers import AutoModelForSequenceClassification, pipeline

from codlocal.core.errors import ModelError
from codlocal.models.classifier import Classifier
from codlocal.models.initialise import (
    keep_layers,
    kept_layers,
    new_classifier,
    shortened_classifier,
)

TEXTS = ["good food", "the service was awful"]
KINDS = ["bert", "roberta", "deberta", "modernbert", "llama", "qwen2", "gemma3"]


def _new(path: Path, **options: object) -> Classifier:
    return new_classifier(path, ("negative", "positive"), device="cpu", **options)


def test_an_encoders_layers_are_spaced_evenly_with_the_last_among_them():
    assert kept_layers("bert", 6, 3) == [1, 3, 5]
    assert kept_layers("deberta-v2", 12, 6) == [1, 3, 5, 7, 9, 11]
    assert kept_layers("modernbert", 28, 4) == [6, 13, 20, 27]


@pytest.mark.parametrize("family", ["llama", "qwen2", "gemma3", "gemma3_text", "gpt2", "mistral"])
def test_a_decoders_layers_are_its_first_ones(family: str):
    assert kept_layers(family, 28, 4) == [0, 1, 2, 3]


@given(st.integers(1, 80), st.integers(1, 80))
def test_kept_layers_are_different_and_in_order(count: int, kept: int):
    if kept > count:
        return
    chosen = kept_layers("bert", count, kept)
    assert len(set(chosen)) == kept
    assert chosen == sorted(chosen)
    assert chosen[-1] == count - 1
    assert chosen[0] >= 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_shortened_model_is_the_same_after_saving(kind: str, tmp_path: Path):
    body = tiny_model(tmp_path / "body", kind, layers=4)
    student = _new(body, layers=2, seed=3)
    assert student.model.config.num_hidden_layers == 2
    saved = tmp_path / "saved"
    saved.mkdir()
    student.save(saved)
    loaded = Classifier.load(saved, device="cpu")
    assert loaded.label_names == ("negative", "positive")
    np.testing.assert_array_equal(loaded.logits(TEXTS), student.logits(TEXTS))


@pytest.mark.parametrize("kind", ["modernbert", "eurobert"])
def test_pooling_is_chosen_and_kept_in_an_ordinary_folder(kind: str, tmp_path: Path):
    body = tiny_model(tmp_path / "body", kind)
    found = {}
    for pooling in ("first", "mean"):
        student = _new(body, pooling=pooling, seed=3)
        saved = tmp_path / pooling
        saved.mkdir()
        student.save(saved)
        model = AutoModelForSequenceClassification.from_pretrained(saved)
        rows = student.encoder.encode(TEXTS)
        with torch.no_grad():
            alone = [model(torch.tensor([row])).logits[0].numpy() for row in rows]
        np.testing.assert_allclose(student.logits(TEXTS), alone, atol=1e-5)
        found[pooling] = np.stack(alone)
    assert np.abs(found["first"] - found["mean"]).max() > 1e-4


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "modernbert"])
def test_a_family_with_one_pooling_is_refused_with_those_that_have_more(kind: str, tmp_path: Path):
    with pytest.raises(ModelError, match="no place to say so") as caught:
        _new(tiny_model(tmp_path, kind), pooling="mean")
    assert "modernbert, eurobert" in caught.value.hint


def test_the_kept_layers_are_those_of_the_body(tmp_path: Path):
    tiny_model(tmp_path, layers=6)
    whole, short = _new(tmp_path), _new(tmp_path, layers=3)
    for position, index in enumerate([1, 3, 5]):
        expected = whole.model.bert.encoder.layer[index].state_dict()
        found = short.model.bert.encoder.layer[position].state_dict()
        assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gemma3"])
def test_a_shortened_decoder_computes_what_the_whole_one_does_half_way(kind: str, tmp_path: Path):
    tiny_model(tmp_path, kind, layers=4)
    whole, short = _new(tmp_path), _new(tmp_path, layers=2)
    inputs = whole.encoder.collate(whole.encoder.encode(TEXTS), whole.device)
    with torch.no_grad():
        expected = whole.model(**inputs, output_hidden_states=True).hidden_states[:2]
        found = short.model(**inputs, output_hidden_states=True).hidden_states[:2]
    assert all(map(torch.equal, found, expected))


def test_more_layers_than_there_are_is_a_model_error(tmp_path: Path):
    with pytest.raises(ModelError, match="2 layers, fewer than the 3"):
        _new(tiny_model(tmp_path), layers=3)


def test_layers_in_an_unknown_place_are_a_model_error(tmp_path: Path):
    model = _new(tiny_model(tmp_path)).model
    model.config.num_hidden_layers = 5
    with pytest.raises(ModelError, match="can't be dropped"):
        keep_layers(model, 1)


@pytest.mark.parametrize("error", [AssertionError, NotImplementedError, RuntimeError])
def test_layers_that_a_family_does_not_let_go_are_a_model_error(error, tmp_path: Path, monkeypatch):
    model = _new(tiny_model(tmp_path)).model

    def refuse(_self, _config):
        raise error

    monkeypatch.setattr(type(model), "__init__", refuse)
    with pytest.raises(ModelError, match="can't be dropped"):
        keep_layers(model, 1)


def _rewritten(folder: Path, rename: Callable[[str], str | None]) -> Path:
    """The folder with its weights under other names, without those whose name is None."""
    path = folder / "model.safetensors"
    named = {rename(name): one for name, one in load_file(path).items()}
    kept = {name: one for name, one in named.items() if name is not None}
    save_file(kept, path, metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize(
    "rename",
    [
        lambda name: f"module.{name}",
        lambda name: f"_orig_mod.{name}",
        lambda name: None if "layer.1." in name else name,
    ],
)
def test_a_body_that_would_be_drawn_at_random_is_refused(rename, tmp_path: Path):
    folder = _rewritten(tiny_model(tmp_path), rename)
    with pytest.raises(ModelError, match=r"lacks weights of its body.*: bert\.") as caught:
        _new(folder)
    assert "save_pretrained" in caught.value.hint


def test_a_body_of_another_size_than_its_configuration_has_is_refused(tmp_path: Path):
    folder = tiny_model(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config["vocab_size"] += 2
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"another size.*word_embeddings"):
        _new(folder)


@pytest.mark.parametrize("labels", [None, ("a", "b", "c")])
def test_a_body_may_come_without_a_pooler_and_with_any_head(labels, tmp_path: Path):
    folder = tiny_model(tmp_path, labels=labels)
    _rewritten(folder, lambda name: None if "pooler" in name else name)
    assert _new(folder).logits(TEXTS).shape == (2, 2)


def test_the_head_depends_on_the_seed_alone(tmp_path: Path):
    tiny_model(tmp_path)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = _new(tmp_path, seed=1).model.classifier.weight
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(_new(tmp_path, seed=1).model.classifier.weight, first)
    assert not torch.equal(_new(tmp_path, seed=2).model.classifier.weight, first)


@pytest.mark.parametrize("labels", [("a", "b"), ("a", "b", "c")])
def test_an_old_head_is_replaced_whatever_its_size(tmp_path: Path, labels: tuple[str, ...]):
    old = tmp_path / "old"
    tiny_model(old, labels=labels)
    tiny_model(tmp_path / "body")
    student = _new(old, seed=1)
    assert student.label_names == ("negative", "positive")
    expected = _new(tmp_path / "body", seed=1).model.classifier.weight
    assert torch.equal(student.model.classifier.weight, expected)


def test_training_starts_in_full_precision(tmp_path: Path):
    assert _new(tiny_model(tmp_path)).model.dtype == torch.float32


@pytest.mark.parametrize("kind", KINDS)
def test_a_shortened_classifier_keeps_its_head_in_the_datas_order(kind: str, tmp_path: Path):
    tiny_model(tmp_path, kind, labels=("POSITIVE", "neutral", "negative"), layers=2)
    names = ("negative", "positive", "neutral")
    whole = Classifier.load(tmp_path, device="cpu", label_names=names)
    same = shortened_classifier(tmp_path, names, layers=2, device="cpu")
    np.testing.assert_allclose(same.logits(TEXTS), whole.logits(TEXTS), atol=1e-6)
    with torch.no_grad():
        rows = same.encoder.collate(same.encoder.encode(TEXTS), same.device)
        np.testing.assert_allclose(same.model(**rows).logits, whole.logits(TEXTS), atol=1e-6)
    assert same.model.config.id2label == dict(enumerate(names))
    assert shortened_classifier(tmp_path, names, device="cpu").model.config.num_hidden_layers == 1


@pytest.mark.parametrize("make", [new_classifier, shortened_classifier])
def test_a_head_of_several_labels_at_once_is_not_passed_on(make, tmp_path: Path):
    folder = tiny_model(tmp_path / "teacher", labels=("negative", "positive"))
    config = json.loads((folder / "config.json").read_text())
    config["problem_type"] = "multi_label_classification"
    (folder / "config.json").write_text(json.dumps(config))
    student = make(folder, ("positive", "negative"), device="cpu")
    student.save(tmp_path / "student")
    classify = pipeline("text-classification", str(tmp_path / "student"), top_k=None)
    said = {one["label"]: one["score"] for one in classify(TEXTS[:1])[0]}
    found = [said[name] for name in student.label_names]
    np.testing.assert_allclose(found, student.predict_proba(TEXTS[:1])[0], atol=1e-6)


def test_a_shortened_classifier_with_other_labels_is_refused(tmp_path: Path):
    tiny_model(tmp_path, labels=("a", "b"))
    with pytest.raises(ModelError, match="no label named"):
        shortened_classifier(tmp_path, ("negative", "positive"), device="cpu")
