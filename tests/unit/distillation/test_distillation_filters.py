"""Task-aware filters, trained on states of tiny models and on made-up ones."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from tiny import tiny_model
from torch.optim.optimizer import register_optimizer_step_pre_hook

from codlocal.core.console import Console
from codlocal.core.errors import ModelError
from codlocal.distillation import filters as module
from codlocal.distillation.filters import (
    TeacherFilters,
    own_filters,
    teacher_filters,
    train_filters,
)
from codlocal.models.classifier import Classifier

QUIET = Console(-1)
TEXTS = {"a": "good food", "b": "the service was awful", "c": "bad", "d": "a great place"}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory) -> Classifier:
    folder = tmp_path_factory.mktemp("teacher")
    return Classifier.load(tiny_model(folder, labels=("n", "p"), layers=4), device="cpu")


def _filters(folder: Path, teacher: Classifier, sha: str = "s", layers=(2, 4), texts=TEXTS):
    return teacher_filters(folder / "filters", teacher, sha, texts, layers, QUIET)


def _task(n: int = 200, width: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    """Means of states whose first unit alone says the class, among louder ones that don't."""
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(1, n, width, generator=generator)
    means[:, :, 1:] *= 3
    return means, (means[0, :, 0] > 0).long()


def test_a_filter_turns_toward_what_the_task_needs(monkeypatch):
    monkeypatch.setattr(module, "_LEARNING_RATE", 1e-2)
    means, labels = _task()
    weight = train_filters(means, labels, classes=2, width=12)[0].weight.detach()
    gain = weight.norm(dim=0)
    assert gain[0] == gain.max()
    filtered = means[0] @ weight.T
    easier = LogisticRegression(C=1e-3, max_iter=500)
    before, after = (easier.fit(one, labels).score(one, labels) for one in (means[0], filtered))
    assert after >= before


@pytest.fixture
def few_steps(monkeypatch):
    monkeypatch.setattr(module, "_STEPS", 3)


@pytest.mark.usefixtures("few_steps")
def test_filters_depend_on_means_labels_and_seed_alone():
    means, labels = _task(20)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = train_filters(means, labels, 2, 7)[0].weight
    assert first.grad is None
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(train_filters(means, labels, 2, 7)[0].weight, first)
    assert not torch.equal(train_filters(means, labels, 2, 7, seed=1)[0].weight, first)
    assert not torch.equal(train_filters(means, 1 - labels, 2, 7)[0].weight, first)
    assert first.shape == (7, 12)


def test_filters_are_trained_for_as_many_steps_as_there_are(monkeypatch):
    steps = []
    hook = register_optimizer_step_pre_hook(lambda *_: steps.append(1))
    try:
        for wanted in (2, 5):
            steps.clear()
            monkeypatch.setattr(module, "_STEPS", wanted)
            train_filters(*_task(20), 2, 12)
            assert len(steps) == wanted
    finally:
        hook.remove()


@pytest.mark.usefixtures("few_steps")
def test_a_teachers_filters_are_trained_on_what_it_says_itself(tmp_path, teacher, monkeypatch):
    given = []
    monkeypatch.setattr(
        teacher, "logits", lambda texts: np.array([[0.0, "good" in one] for one in texts])
    )
    monkeypatch.setattr(
        module, "own_filters", lambda *them: given.append(them) or own_filters(*them)
    )
    _filters(tmp_path, teacher, texts={"a": "good food", "b": "bad", "c": "so good"})
    [(_, texts, labels, *_)] = given
    assert dict(zip(texts, labels.tolist(), strict=True)) == {
        "good food": 1,
        "bad": 0,
        "so good": 1,
    }


@pytest.mark.usefixtures("few_steps")
def test_layers_do_not_influence_each_other():
    means, labels = _task(20)
    both = torch.cat([means, means.flip(-1)])
    alone = train_filters(means, labels, 2, 12)[0]
    together = train_filters(both, labels, 2, 12)[0]
    torch.testing.assert_close(together.weight, alone.weight)


def test_the_classifier_is_left_as_it_is(teacher: Classifier):
    before = {name: tensor.clone() for name, tensor in teacher.model.state_dict().items()}
    labels = torch.tensor([1, 0, 0, 1])
    found = own_filters(teacher, list(TEXTS.values()), labels, (1, 4), width=48)
    assert [tuple(one.weight.shape) for one in found] == [(48, 32)] * 2
    after = teacher.model.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert all(one.grad is None for one in teacher.model.parameters())


def test_a_teachers_filters_are_trained_once_and_frozen(tmp_path, teacher, monkeypatch):
    first = _filters(tmp_path, teacher)
    assert (tmp_path / "filters" / "filters.safetensors").is_file()
    assert not any(one.requires_grad for one in first.maps.parameters())
    monkeypatch.setattr(module, "train_filters", lambda *_: pytest.fail("trained twice"))
    second = _filters(tmp_path, teacher)
    assert second.key == first.key
    for one, other in zip(first.maps.parameters(), second.maps.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_maps_are_where_the_teacher_is(tmp_path, teacher, monkeypatch):
    _filters(tmp_path, teacher)
    monkeypatch.setattr(Classifier, "device", torch.device("meta"))
    assert all(one.is_meta for one in _filters(tmp_path, teacher).maps.parameters())


@pytest.mark.usefixtures("few_steps")
@pytest.mark.parametrize(
    "change", [{"sha": "other"}, {"layers": (1, 4)}, {"texts": {**TEXTS, "a": "great"}}]
)
def test_another_teacher_other_layers_or_texts_are_trained_anew(tmp_path, teacher, change):
    assert _filters(tmp_path, teacher).key != _filters(tmp_path, teacher, **change).key


def test_a_large_split_is_sampled(tmp_path, teacher, monkeypatch):
    monkeypatch.setattr(module, "MOST_TEXTS", 3)
    asked = []
    monkeypatch.setattr(
        teacher, "logits", lambda texts: asked.append(texts) or np.eye(2)[[0, 1, 0]]
    )
    key = _filters(tmp_path, teacher).key
    assert len(asked[0]) == 3
    backwards = dict(reversed(TEXTS.items()))
    assert _filters(tmp_path, teacher, texts=backwards).key == key


def test_filtered_states_are_those_of_the_maps():
    maps = torch.nn.ModuleList([torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)])
    states = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0))
    found = TeacherFilters("k", maps).apply(states)
    for layer in range(2):
        weight, bias = (one.detach().numpy() for one in maps[layer].parameters())
        expected = states[layer].numpy() @ weight.T + bias
        np.testing.assert_allclose(found[layer], expected, atol=1e-6)
    assert not found.requires_grad


def test_a_teacher_with_too_few_layers_is_a_model_error(tmp_path, teacher):
    with pytest.raises(ModelError, match="hidden states"):
        _filters(tmp_path, teacher, layers=(4, 5))
