from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from tiny import tiny_model
from tokenizers import processors
from transformers import AutoTokenizer

from codlocal.core.errors import ModelError
from codlocal.distillation.warm_start import fit_head, head_features, warm_start_head
from codlocal.models.classifier import Classifier
from codlocal.models.initialise import new_classifier, output_layer

TEXTS = ["good food", "the service was awful and bad", "great place", "bad", "the food is great"]
KINDS = ["bert", "roberta", "deberta", "modernbert", "llama", "qwen2", "gemma3"]


def _features(n: int, width: int) -> torch.Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(n))


def _student(folder: Path, kind: str = "bert") -> Classifier:
    return new_classifier(tiny_model(folder, kind), ("n", "p"), device="cpu")


def test_with_hard_labels_the_head_is_that_of_scikit_learn():
    features = _features(30, 7)
    labels = torch.arange(30) % 3
    weight, bias = fit_head(features, torch.nn.functional.one_hot(labels, 3))
    expected = LogisticRegression(C=1.0, tol=1e-10, max_iter=5000).fit(features, labels)
    np.testing.assert_allclose(weight, expected.coef_, atol=1e-4)
    # Only differences of biases count.
    np.testing.assert_allclose(bias - bias.mean(), expected.intercept_, atol=1e-4)


def test_at_the_minimum_the_gradient_of_the_formula_is_zero():
    features = _features(12, 20).double()
    targets = torch.randn(12, 2, generator=torch.Generator().manual_seed(1)).double().softmax(-1)
    weight, bias = fit_head(features, targets)
    errors = (features @ weight.T + bias).softmax(-1) - targets
    np.testing.assert_allclose(errors.T @ features + weight, 0, atol=1e-5)
    np.testing.assert_allclose(errors.sum(0), 0, atol=1e-5)


def test_a_head_without_a_bias_is_fitted_without_one():
    _, bias = fit_head(_features(8, 4), torch.eye(2).repeat(4, 1), with_bias=False)
    assert bias.tolist() == [0, 0]


@pytest.mark.parametrize("kind", KINDS)
def test_features_are_what_the_last_layer_turns_into_logits(tmp_path: Path, kind: str):
    student = _student(tmp_path, kind)
    layer = output_layer(student.model)
    with torch.no_grad():
        logits = layer(head_features(student, TEXTS))
    np.testing.assert_allclose(logits, student.logits(TEXTS), atol=1e-5)
    assert not layer._forward_pre_hooks


def test_a_token_that_ends_texts_and_pads_them_is_not_a_decoders_last(tmp_path: Path):
    tokenizer = AutoTokenizer.from_pretrained(tiny_model(tmp_path, "qwen2"))
    end = (tokenizer.eos_token, tokenizer.eos_token_id)
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {end[0]}", special_tokens=[end]
    )
    tokenizer.save_pretrained(tmp_path)
    student = new_classifier(tmp_path, ("n", "p"), device="cpu")
    assert student.encoder.encode(["bad"])[0][-1] == student.encoder.pad_id
    with torch.no_grad():
        logits = output_layer(student.model)(head_features(student, TEXTS))
    np.testing.assert_allclose(logits, student.logits(TEXTS), atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_head_changes_and_it_follows_the_teacher(tmp_path: Path, kind: str):
    student = _student(tmp_path, kind)
    teacher = torch.tensor([[-6.0, 6.0], [6.0, -6.0]]).repeat(3, 1)[: len(TEXTS)]
    before = {name: tensor.clone() for name, tensor in student.model.state_dict().items()}
    old = head_features(student, TEXTS)
    warm_start_head(student, TEXTS, teacher)
    changed = [
        name
        for name, tensor in student.model.state_dict().items()
        if not torch.equal(tensor, before[name])
    ]
    assert {name.rsplit(".", 1)[1] for name in changed} <= {"weight", "bias"}
    assert len({name.rsplit(".", 1)[0] for name in changed}) == 1
    weight, bias = fit_head(
        old, teacher.softmax(-1), with_bias=output_layer(student.model).bias is not None
    )
    expected = old.double() @ weight.T + bias
    np.testing.assert_allclose(student.logits(TEXTS), expected, atol=1e-4)


def test_the_same_texts_give_the_same_head(tmp_path: Path):
    teacher = torch.eye(2).repeat(3, 1)[: len(TEXTS)]
    heads = []
    for _ in range(2):
        student = _student(tmp_path)
        torch.rand(1)
        warm_start_head(student, TEXTS, teacher)
        heads.append(output_layer(student.model).weight)
    assert torch.equal(*heads)


def test_features_that_are_not_finite_are_refused(tmp_path: Path):
    student = _student(tmp_path)
    with torch.no_grad():
        student.model.bert.pooler.dense.bias.fill_(float("nan"))
    with pytest.raises(ModelError, match="not finite"):
        head_features(student, TEXTS)


def test_a_head_without_a_linear_end_is_named(tmp_path: Path):
    model = _student(tmp_path).model
    model.classifier = torch.nn.Identity()
    with pytest.raises(ModelError, match="no linear layer") as caught:
        output_layer(model)
    assert "--warm-start none" in caught.value.hint
