from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from tiny import tiny_model

from codlocal.core.config import Config, resolve
from codlocal.core.errors import ModelError
from codlocal.core.jsonl import write_json
from codlocal.distillation.starting import (
    decided_start,
    go_back_toward_start,
    kept_start,
    start_student,
)
from codlocal.models.classifier import Classifier
from codlocal.models.locate import read_json

NAMES = ("negative", "positive")
TEXTS = ["good food", "the service was awful"]


def _config(**settings: object) -> Config:
    return resolve([{"distillation": settings, "runtime": {"device": "cpu"}}])


def _decide(config: Config, student: Path, teacher: Path) -> tuple[str, Path]:
    decided, folder = decided_start(config, student, teacher)
    said = dict.fromkeys(("student_init", "warm_start", "teacher_share"), mock.ANY)
    expected = config.distillation.model_dump() | said
    assert decided.distillation.model_dump() == expected
    return decided.distillation.student_init, folder


def test_a_pretrained_student_is_made_of_its_own_folder(tmp_path: Path):
    student, teacher = tiny_model(tmp_path / "student"), tmp_path / "teacher"
    config = _config(student_init="pretrained")
    assert _decide(config, student, teacher) == ("pretrained", student)


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_layers_of_the_teachers_own_model_are_taken_from_the_teacher(tmp_path: Path, kind: str):
    student = tiny_model(tmp_path / "student", kind, layers=4)
    teacher = tiny_model(tmp_path / "teacher", kind, layers=4, labels=NAMES)
    assert _decide(_config(student_layers=2), student, teacher) == ("teacher", teacher)


@pytest.mark.parametrize(
    "settings", [{}, {"pooling": "mean"}, {"warm_start": "head"}, {"warm_start": "contrastive"}]
)
def test_a_whole_student_and_one_with_a_new_head_are_pretrained(tmp_path: Path, settings):
    student = tiny_model(tmp_path / "student")
    teacher = tiny_model(tmp_path / "teacher", labels=NAMES)
    layers = {"student_layers": 1} if settings else {}
    config = _config(**settings, **layers)
    assert _decide(config, student, teacher) == ("pretrained", student)


@pytest.mark.parametrize("kind", ["bert", "distilbert"])  # whose settings have other names
@pytest.mark.parametrize("teacher", [{"layers": 4}, {"width": 48}, {"kind": "roberta"}])
def test_a_student_of_another_model_than_the_teachers_is_pretrained(
    tmp_path: Path, kind: str, teacher
):
    student = tiny_model(tmp_path / "student", kind)
    other = tiny_model(tmp_path / "teacher", labels=NAMES, **{"kind": kind, **teacher})
    assert _decide(_config(student_layers=1), student, other) == ("pretrained", student)


def test_a_teacher_in_4_bits_has_no_layers_to_give(tmp_path: Path):
    student = tiny_model(tmp_path / "student")
    teacher = tiny_model(tmp_path / "teacher", labels=NAMES)
    settings = read_json(teacher / "config.json") | {"quantization_config": {"load_in_4bit": True}}
    write_json(teacher / "config.json", settings)
    assert _decide(_config(student_layers=1), student, teacher) == ("pretrained", student)


@pytest.mark.parametrize("kind", ["bert", "llama"])
@pytest.mark.parametrize(
    ("settings", "of_decoder"),
    [
        ({"student_init": "pretrained"}, "head"),
        ({"student_init": "teacher"}, "head"),
        ({"student_init": "teacher", "student_layers": 3}, "head"),
        ({"student_init": "teacher", "student_layers": 4}, "none"),
    ],
)
def test_a_decoders_head_is_fitted_first_where_it_is_new(tmp_path, kind, settings, of_decoder):
    model = tiny_model(tmp_path, kind, layers=4, labels=NAMES)
    for asked in ("auto", "none", "head", "contrastive"):
        decided, _ = decided_start(_config(warm_start=asked, **settings), model, model)
        fitting = of_decoder if kind == "llama" else "none"
        assert decided.distillation.warm_start == (fitting if asked == "auto" else asked)


@pytest.mark.parametrize(("init", "steps"), [("pretrained", 360), ("teacher", 120)])
def test_a_start_has_its_own_number_of_steps(init, steps):
    assert _config(student_init=init).distillation.total_steps == steps
    assert _config(student_init=init, steps=7).distillation.total_steps == 7


def test_a_student_of_the_teachers_family_can_be_made_of_its_layers(tmp_path: Path):
    student = tiny_model(tmp_path / "student")
    teacher = tiny_model(tmp_path / "teacher", labels=NAMES)
    assert _decide(_config(student_init="teacher"), student, teacher) == ("teacher", teacher)


def test_a_student_of_another_family_is_refused_with_a_way_out(tmp_path: Path):
    student = tiny_model(tmp_path / "student", "deberta")
    teacher = tiny_model(tmp_path / "teacher", "roberta", labels=NAMES)
    config = _config(student_init="teacher")
    with pytest.raises(ModelError, match=r"A deberta-v2 student .* a roberta teacher") as caught:
        decided_start(config, student, teacher)
    assert f"--student {config.teacher.model}" in caught.value.hint


@pytest.mark.parametrize(("layers", "expected"), [(None, 2), (3, 3)])
def test_by_default_half_of_the_teachers_layers_are_kept(tmp_path: Path, layers, expected):
    teacher = tiny_model(tmp_path, labels=NAMES, layers=4)
    config = _config(student_init="teacher", student_layers=layers)
    student = start_student(config, teacher, NAMES, seed=0)
    assert student.model.config.num_hidden_layers == expected


def test_by_default_a_pretrained_student_keeps_its_layers(tmp_path: Path):
    student = start_student(_config(), tiny_model(tmp_path, layers=4), NAMES, seed=0)
    assert student.model.config.num_hidden_layers == 4


def test_with_all_layers_the_student_is_the_teacher(tmp_path: Path):
    folder = tiny_model(tmp_path, labels=NAMES)
    student = start_student(_config(student_init="teacher", student_layers=2), folder, NAMES, 0)
    teacher = Classifier.load(folder, device="cpu", label_names=NAMES)
    np.testing.assert_array_equal(student.logits(TEXTS), teacher.logits(TEXTS))


_OWN = {"student_init": "teacher", "student_layers": 1}


@pytest.mark.parametrize(("settings", "share"), [({}, 0.5), ({"teacher_share": 0.0}, 0.0)])
def test_with_more_than_two_classes_it_is_half_way_unless_told_otherwise(tmp_path, settings, share):
    folder = tiny_model(tmp_path, labels=("n", "p", "q"))
    config, _ = decided_start(_config(**_OWN, **settings), folder, folder)
    assert config.distillation.teacher_share == share


def _weights(student: Classifier) -> torch.Tensor:
    return torch.cat([one.detach().flatten() for one in student.model.parameters()])


@pytest.mark.parametrize(
    ("settings", "share"),
    [
        (_OWN, 0.0),
        ({**_OWN, "teacher_share": 0.25}, 0.25),
        ({**_OWN, "warm_start": "head"}, 0.5),
        ({**_OWN, "warm_start": "head", "teacher_share": 0.0}, 0.0),
        ({**_OWN, "warm_start": "head", "quantization": "nf4"}, 0.0),
        ({**_OWN, "teacher_share": 0.5, "quantization": "nf4"}, 0.0),
        ({"student_init": "pretrained", "teacher_share": 0.5}, 0.0),
        ({"student_init": "pretrained", "warm_start": "head"}, 0.0),
    ],
)
def test_only_a_student_of_the_teachers_layers_goes_back_toward_them(tmp_path, settings, share):
    folder = tiny_model(tmp_path, labels=NAMES)
    config, _ = decided_start(_config(**settings), folder, folder)
    student = start_student(config, folder, NAMES, seed=0)
    start, kept = _weights(student).clone(), kept_start(student, config.distillation)
    with torch.no_grad():
        for one in student.model.parameters():
            one.add_(1.0)
    go_back_toward_start(student, kept, config.distillation)
    torch.testing.assert_close(_weights(student) - start, torch.full_like(start, 1 - share))
