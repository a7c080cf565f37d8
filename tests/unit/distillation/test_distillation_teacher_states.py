from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import tiny_model

from codlocal.core.console import Console
from codlocal.core.errors import ModelError
from codlocal.distillation.teacher_states import TeacherStates, teacher_states
from codlocal.models.classifier import Classifier

TEXTS = {"a": "good food", "b": "the service was awful", "c": "bad"}
QUIET = Console(-1)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory) -> Classifier:
    folder = tmp_path_factory.mktemp("teacher")
    return Classifier.load(tiny_model(folder, labels=("n", "p"), layers=4), device="cpu")


def _states(folder: Path, teacher, texts=TEXTS, sha: str = "s", layers=(2, 4)) -> TeacherStates:
    return teacher_states(folder / "states", teacher, sha, texts, layers, QUIET)


def test_states_are_those_of_a_forward_pass_without_padding(tmp_path: Path, teacher: Classifier):
    found = _states(tmp_path, teacher).of(["c", "b"])
    for states, text in zip(found, (TEXTS["c"], TEXTS["b"]), strict=True):
        row = teacher.encoder.encode([text])[0]
        with torch.no_grad():
            hidden = teacher.model(torch.tensor([row]), output_hidden_states=True).hidden_states
        assert states.shape == (2, len(row), 32)
        np.testing.assert_allclose(states[0], hidden[2][0], atol=1e-6)
        np.testing.assert_allclose(states[1], hidden[4][0], atol=1e-6)


def test_states_are_computed_once(tmp_path: Path, teacher: Classifier, monkeypatch):
    first = _states(tmp_path, teacher).of(["a"])
    monkeypatch.setattr(teacher.encoder, "encode", lambda _: pytest.fail("asked twice"))
    assert torch.equal(_states(tmp_path, teacher).of(["a"])[0], first[0])


@pytest.mark.parametrize(
    "change", [{"sha": "other"}, {"texts": {**TEXTS, "a": "great"}}, {"layers": (1, 4)}]
)
def test_another_teacher_other_texts_or_layers_are_computed_anew(
    tmp_path: Path, teacher: Classifier, change, monkeypatch
):
    _states(tmp_path, teacher)
    asked = []
    encode = teacher.encoder.encode
    monkeypatch.setattr(teacher.encoder, "encode", lambda texts: asked.append(1) or encode(texts))
    _states(tmp_path, teacher, **change)
    assert asked == [1]


@pytest.mark.parametrize("content", [b"", b"garbage" * 20])
def test_damaged_states_are_computed_anew(tmp_path: Path, teacher: Classifier, content):
    found = _states(tmp_path, teacher)
    first = found.of(["a"])[0]
    found.path.unlink()
    found.path.write_bytes(content)
    assert torch.equal(_states(tmp_path, teacher).of(["a"])[0], first)


def test_a_teacher_with_too_few_layers_is_a_model_error(tmp_path: Path, teacher: Classifier):
    with pytest.raises(ModelError, match="hidden states") as caught:
        _states(tmp_path, teacher, layers=(4, 5))
    assert "--method kd" in caught.value.hint
