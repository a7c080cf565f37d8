import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tiny import tiny_model, wordpiece_tokenizer
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from codlocal.core.errors import DeviceError, ModelError
from codlocal.core.records import Teacher
from codlocal.models import encoding
from codlocal.models.classifier import Classifier, softmax

TEXTS = ["good food", "the service was awful, and the place is so very bad", "x", "", "bad " * 90]
LABELS = ("negative", "positive", "neutral")
KINDS = ["bert", "roberta", "deberta", "modernbert", "llama", "qwen2", "gemma3"]


@pytest.fixture(scope="module", params=KINDS)
def family(request, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    return tiny_model(folder, request.param, labels=LABELS)


@pytest.fixture(scope="module")
def bert(tmp_path_factory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("bert"), labels=LABELS)


def _load(path: Path, **options: object) -> Classifier:
    return Classifier.load(path, device="cpu", **{"max_length": 64, **options})


def test_a_batch_of_one_gives_what_a_batch_of_many_gives(family: Path):
    classifier = _load(family)
    together = classifier.logits(TEXTS)
    one_by_one = np.concatenate([classifier.logits([text]) for text in TEXTS])
    assert together.shape == (len(TEXTS), len(LABELS))
    assert together.dtype == np.float32
    np.testing.assert_allclose(together, one_by_one, atol=1e-6)
    np.testing.assert_allclose(together, classifier.logits(TEXTS, batch_size=2), atol=1e-6)


def test_what_is_read_of_a_long_text_is_told(family: Path):
    classifier, text = _load(family), "good food, bad service " * 30
    end = classifier.characters_read(text)
    assert 0 < end < len(text)
    assert classifier.encoder.encode([text[:end]]) == classifier.encoder.encode([text])
    assert classifier.encoder.encode([text[: end - 1]]) != classifier.encoder.encode([text])
    assert classifier.characters_read("good food ") == len("good food ")


def test_of_a_text_that_is_cut_at_its_beginning_all_counts_as_read(bert: Path):
    classifier, text = _load(bert), "good food, bad service " * 30
    classifier.encoder.tokenizer.truncation_side = "left"
    assert classifier.characters_read(text) == len(text)


def test_the_order_of_the_texts_is_kept(bert: Path):
    classifier = _load(bert)
    turned = classifier.logits(TEXTS[::-1])[::-1]
    np.testing.assert_allclose(classifier.logits(TEXTS), turned, atol=1e-6)


def test_texts_are_cut_at_the_maximal_length(bert: Path):
    classifier = _load(bert, max_length=8)
    first, second = classifier.logits(["good " * 6 + "bad", "good " * 6 + "awful food"])
    np.testing.assert_allclose(first, second, rtol=1e-5)
    one, other = classifier.encoder.encode(["good " * 6 + "bad", "good " * 6 + "awful food"])
    assert one == other
    assert len(one) == 8


def test_what_is_the_same_to_the_model_is_read_once(bert: Path, monkeypatch):
    classifier = _load(bert, max_length=8)
    texts = ["bad", "good " * 7 + "bad", "good " * 7 + "food", "food", "bad"]
    one_by_one = np.concatenate([classifier.logits([text]) for text in texts])
    read, batch = [], classifier._batch_logits

    def counted(rows):
        read.extend(rows)
        return batch(rows)

    monkeypatch.setattr(classifier, "_batch_logits", counted)
    monkeypatch.setattr("codlocal.models.classifier._AT_ONCE", 3)
    np.testing.assert_allclose(classifier.logits(texts), one_by_one, atol=1e-6)
    assert len(read) == 2 + 2  # of the first three texts, and of the other two


def test_the_length_never_exceeds_the_models_positions(bert: Path):
    classifier = _load(bert, max_length=10_000)
    assert classifier.encoder.max_length == 160
    assert np.isfinite(classifier.logits(["good " * 500])).all()


def _of_family(folder: Path, family: str, **sizes: object) -> Path:
    tokenizer = wordpiece_tokenizer()
    config = getattr(transformers, f"{family}Config")(
        vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **sizes
    )
    getattr(transformers, f"{family}ForSequenceClassification")(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


_SIZES = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "max_position_embeddings": 65,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}


@pytest.mark.parametrize("family", ["Camembert", "XLMRoberta", "Longformer"])
def test_positions_that_a_family_counts_from_the_padding_are_left_out(family: str, tmp_path: Path):
    more = {"attention_window": 16} if family == "Longformer" else {}
    classifier = _load(_of_family(tmp_path, family, **_SIZES, **more), max_length=10_000)
    assert classifier.encoder.max_length == 64
    assert np.isfinite(classifier.logits(["good " * 500])).all()


@pytest.mark.parametrize("kind", ["bert", "qwen2"])
def test_a_classifier_without_the_weights_of_its_head_is_refused(kind: str, tmp_path: Path):
    path = tiny_model(tmp_path, kind, labels=LABELS) / "model.safetensors"
    body = {
        name: one for name, one in load_file(path).items() if "layers" in name or "bert." in name
    }
    save_file(body, path, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks weights .*(classifier|score)\.weight"):
        _load(tmp_path)


_READ_PADDING = {
    "XLNet": {"d_model": 32, "n_layer": 1, "n_head": 2, "d_inner": 64},
    "ConvBert": {**_SIZES, "embedding_size": 32},
    "FNet": _SIZES,
}


@pytest.mark.parametrize(("family", "sizes"), _READ_PADDING.items())
def test_a_family_that_reads_padding_is_refused(family: str, sizes, tmp_path: Path):
    torch.manual_seed(0)
    folder = _of_family(tmp_path, family, initializer_range=0.5, **sizes)
    with pytest.raises(ModelError, match=f"is a {family.lower()} model, which reads padding"):
        _load(folder)


def test_probabilities_are_the_softmax_of_the_logits(bert: Path):
    classifier = _load(bert)
    probabilities = classifier.predict_proba(TEXTS)
    expected = torch.from_numpy(classifier.logits(TEXTS)).double().softmax(-1).numpy()
    assert probabilities.dtype == np.float64
    np.testing.assert_allclose(probabilities, expected, atol=1e-12)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    teacher: Teacher = classifier
    assert teacher.predict_proba([]).shape == (0, len(LABELS))


def test_the_softmax_of_large_logits_is_finite():
    assert softmax(np.array([[1000.0, 0.0]], dtype=np.float32)).tolist() == [[1.0, 0.0]]


def test_columns_follow_the_datas_label_names(bert: Path):
    own = _load(bert)
    other = _load(bert, label_names=("Positive", "NEUTRAL", "negative"))
    assert own.label_names == LABELS
    assert other.label_names == ("Positive", "NEUTRAL", "negative")
    np.testing.assert_array_equal(other.logits(TEXTS), own.logits(TEXTS)[:, [1, 2, 0]])


def test_label_names_that_are_numbers_are_the_datas_words(tmp_path: Path):
    config = tiny_model(tmp_path, labels=LABELS) / "config.json"
    odd = {"id2label": {"0": 2, "1": 0, "2": 1}}
    config.write_text(json.dumps({**json.loads(config.read_text()), **odd}))
    own, found = _load(tmp_path), _load(tmp_path, label_names=("0", "1", "2"))
    assert own.label_names == ("2", "0", "1")
    np.testing.assert_array_equal(found.logits(TEXTS), own.logits(TEXTS)[:, [1, 2, 0]])


def test_other_labels_are_refused(bert: Path):
    with pytest.raises(ModelError, match="3 labels, the data 2"):
        _load(bert, label_names=("negative", "positive"))


def test_a_body_without_a_head_is_refused(tmp_path: Path):
    with pytest.raises(ModelError, match="no classification head"):
        _load(tiny_model(tmp_path))


def test_a_gpu_that_is_not_there_is_a_device_error(bert: Path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError) as caught:
        Classifier.load(bert, device="cuda")
    assert caught.value.exit_code == 3


def test_half_precision_comes_near_full_precision(bert: Path):
    half = _load(bert, dtype="bfloat16")
    assert half.model.dtype == torch.bfloat16
    np.testing.assert_allclose(half.logits(TEXTS), _load(bert).logits(TEXTS), atol=0.05)


def test_logits_that_are_not_finite_are_refused(bert: Path):
    classifier = _load(bert)
    with torch.no_grad():
        classifier.model.classifier.bias.fill_(float("inf"))
    with pytest.raises(ModelError, match="not finite") as caught:
        classifier.logits(["good"])
    assert "float32" in caught.value.hint


def test_damaged_weights_are_a_model_error(tmp_path: Path):
    tiny_model(tmp_path, labels=LABELS)
    tmp_path.joinpath("model.safetensors").write_bytes(b"version https://git-lfs.github.com")
    with pytest.raises(ModelError, match="can't be loaded as a classifier"):
        _load(tmp_path)


def test_a_model_that_needs_its_own_code_is_refused(tmp_path: Path):
    tiny_model(tmp_path, labels=LABELS)
    path = tmp_path / "config.json"
    config = {**json.loads(path.read_text()), "model_type": "custom-thing"}
    path.write_text(json.dumps(config))
    with pytest.raises(ModelError, match="can't be loaded"):
        _load(tmp_path)


def test_a_tokenizer_that_needs_a_missing_package_is_a_model_error(tmp_path: Path, monkeypatch):
    def load(*_: object, **__: object) -> None:
        raise ImportError("\nit requires the SentencePiece library")

    tiny_model(tmp_path, labels=LABELS)
    monkeypatch.setattr(encoding.TextEncoder, "load", load)
    with pytest.raises(ModelError, match="SentencePiece"):
        _load(tmp_path)


@pytest.mark.parametrize("pad", [None, -1])
def test_a_decoder_without_a_pad_token_gets_one(tmp_path: Path, pad: int | None):
    tiny_model(tmp_path, "llama", labels=LABELS)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "pad_token_id": pad}))
    classifier = _load(tmp_path)
    assert classifier.model.config.pad_token_id == classifier.encoder.tokenizer.eos_token_id
    one_by_one = np.concatenate([classifier.logits([text]) for text in TEXTS])
    np.testing.assert_allclose(classifier.logits(TEXTS), one_by_one, atol=1e-6)


def test_a_saved_decoder_gives_the_same_in_batches_of_other_programs(tmp_path: Path):
    body = tiny_model(tmp_path / "body", "llama", labels=LABELS)
    path = body / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "pad_token_id": 7}))
    classifier = _load(body)
    saved = tmp_path / "saved"
    saved.mkdir()
    classifier.save(saved)
    tokenizer = AutoTokenizer.from_pretrained(saved)
    rows = tokenizer(["good food", "the service was awful"], padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = AutoModelForSequenceClassification.from_pretrained(saved)(**rows).logits
    expected = classifier.logits(["good food", "the service was awful"])
    np.testing.assert_allclose(logits, expected, atol=1e-5)


def test_a_saved_classifier_is_the_same_after_loading(bert: Path, tmp_path: Path):
    classifier = _load(bert)
    classifier.save(tmp_path)
    np.testing.assert_array_equal(_load(tmp_path).logits(TEXTS), classifier.logits(TEXTS))
    assert not [path for path in tmp_path.iterdir() if path.suffix in {".bin", ".pt", ".pkl"}]
    assert str(bert) not in "".join(path.read_text() for path in tmp_path.glob("*.json"))
