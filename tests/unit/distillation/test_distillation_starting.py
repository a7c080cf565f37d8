from pathlib import Path

import numpy as np
import pytest
from tiny import tiny_model

from codlocal.core.config import Config, resolve
from codlocal.core.errors import ModelError
from codlocal.distillation.starting import start_student, starting_folder
from codlocal.models.classifier import Classifier

NAMES = ("negative", "positive")
TEXTS = ["good food", "the service was awful"]


def _config(**settings: object) -> Config:
    return resolve([{"distillation": settings, "runtime": {"device": "cpu"}}])


def test_a_pretrained_student_is_made_of_its_own_folder(tmp_path: Path):
    student, teacher = tmp_path / "student", tmp_path / "teacher"
    assert starting_folder(_config(), student, teacher) == student


def test_a_student_of_the_teachers_family_can_be_made_of_its_layers(tmp_path: Path):
    student = tiny_model(tmp_path / "student")
    teacher = tiny_model(tmp_path / "teacher", labels=NAMES)
    assert starting_folder(_config(student_init="teacher"), student, teacher) == teacher


def test_a_student_of_another_family_is_refused_with_a_way_out(tmp_path: Path):
    student = tiny_model(tmp_path / "student", "deberta")
    teacher = tiny_model(tmp_path / "teacher", "roberta", labels=NAMES)
    config = _config(student_init="teacher")
    with pytest.raises(ModelError, match=r"A deberta-v2 student .* a roberta teacher") as caught:
        starting_folder(config, student, teacher)
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
