"""Classifiers in 4 bits: what is quantised, what is not, and what that costs."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import tiny_model

from codlocal.core.errors import ModelError
from codlocal.models.adapters import save_in_4_bits, train_in_4_bits
from codlocal.models.classifier import Classifier
from codlocal.models.initialise import new_classifier, shortened_classifier
from codlocal.models.quantization import linears_in_4_bits
from codlocal.models.trainable import is_quantized

TEXTS = ["good food", "the service was awful", "bad"]
LABELS = ("a", "b")


@pytest.mark.parametrize(
    ("kind", "head"),
    [
        ("bert", {"bert.pooler.dense", "classifier"}),
        ("deberta", {"pooler.dense", "classifier"}),
        ("modernbert", {"head.dense", "classifier"}),
        ("llama", {"score"}),
    ],
)
def test_all_linear_layers_but_those_of_the_head_are_quantised(tmp_path: Path, kind: str, head):
    folder = tiny_model(tmp_path, kind, labels=LABELS)
    full = Classifier.load(folder, device="cpu")
    loaded = Classifier.load(folder, device="cpu", quantization="nf4")
    linears = {
        name for name, part in full.model.named_modules() if isinstance(part, torch.nn.Linear)
    }
    assert linears - set(linears_in_4_bits(loaded.model)) == head
    difference = np.abs(full.logits(TEXTS) - loaded.logits(TEXTS)).max()
    assert 0 < difference < 1
    loaded.save(tmp_path / "saved")
    assert is_quantized(tmp_path / "saved")
    for dtype in ("auto", "bfloat16", "float16"):
        again = Classifier.load(tmp_path / "saved", device="cpu", dtype=dtype)
        np.testing.assert_array_equal(again.logits(TEXTS), loaded.logits(TEXTS))


def test_quantised_weights_leave_a_gpu_alone_that_is_not_asked_for(tmp_path: Path, monkeypatch):
    folder = tiny_model(tmp_path / "full", labels=LABELS)
    whole = Classifier.load(folder, device="cpu", quantization="nf4")
    whole.save(tmp_path / "small")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: pytest.fail("looks at the GPU"))
    again = Classifier.load(tmp_path / "small", device="cpu")
    np.testing.assert_array_equal(again.logits(TEXTS), whole.logits(TEXTS))


def test_adapters_change_nothing_before_they_are_trained(tmp_path: Path):
    student = new_classifier(tiny_model(tmp_path / "base"), LABELS, device="cpu")
    train_in_4_bits(student, tmp_path, torch.float32, seed=0)
    full = tmp_path / "unquantised"
    plain = Classifier.load(full, device="cpu", quantization="nf4")
    np.testing.assert_array_equal(student.logits(TEXTS), plain.logits(TEXTS))
    trained = {name for name, one in student.model.named_parameters() if one.requires_grad}
    assert all("lora_" in name or "pooler" in name or "classifier" in name for name in trained)
    head = {"bert.pooler.dense.weight", "classifier.weight", "classifier.bias"}
    assert head <= trained
    first = {name: one.clone() for name, one in student.model.named_parameters()}
    other = Classifier.load(full, device="cpu")
    train_in_4_bits(other, tmp_path, torch.float32, seed=1)
    drawn = "bert.encoder.layer.0.attention.self.query.lora_A.default.weight"
    assert not torch.equal(first[drawn], other.model.get_parameter(drawn))


def test_adapters_are_merged_into_weights_that_lie_the_other_way_round(tmp_path: Path):
    folder = tiny_model(tmp_path / "base", "gpt2")
    student = new_classifier(folder, LABELS, device="cpu")
    train_in_4_bits(student, tmp_path, torch.float32, seed=0)
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in student.model.named_parameters():
            if ".lora_B." in name:
                parameter.normal_(std=0.1)
    plain = Classifier.load(tmp_path / "unquantised", device="cpu").logits(TEXTS)
    trained = student.logits(TEXTS)
    loss = save_in_4_bits(student, tmp_path, TEXTS)
    moved = np.abs(trained - plain).max()
    assert loss.max_difference < 0.5 * moved
    assert np.abs(Classifier.load(tmp_path, device="cpu").logits(TEXTS) - trained).max() < moved


def test_quantised_weights_are_no_start_for_training(tmp_path: Path):
    folder = tiny_model(tmp_path / "full", labels=LABELS)
    Classifier.load(folder, device="cpu", quantization="nf4").save(tmp_path / "small")
    for start in (new_classifier, shortened_classifier):
        with pytest.raises(ModelError, match="is quantised") as caught:
            start(tmp_path / "small", LABELS, device="cpu")
        assert "--quantization nf4" in caught.value.hint


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("deberta", torch.float32), ("gemma3", torch.float32), ("bert", torch.float16)],
)
def test_families_that_overflow_in_float16_are_not_loaded_in_it(tmp_path: Path, kind, expected):
    folder = tiny_model(tmp_path, kind, labels=LABELS)
    assert Classifier.load(folder, device="cpu", dtype="float16").model.dtype == expected
