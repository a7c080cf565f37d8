import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import tiny_model

from codlocal.core.config import resolve
from codlocal.distillation.knowledge import _compared_layers
from codlocal.distillation.layer_maps import layer_map, own_layers
from codlocal.distillation.starting import start_student
from codlocal.models.classifier import Classifier


@pytest.mark.parametrize(
    ("teacher", "student", "expected"),
    [
        (12, 6, [(2, 1), (4, 2), (6, 3), (8, 4), (10, 5), (12, 6)]),
        (12, 12, [(layer, layer) for layer in range(1, 13)]),
        (28, 24, [(7, 6), (14, 12), (21, 18), (28, 24)]),
        (6, 3, [(2, 1), (4, 2), (6, 3)]),
        (3, 6, [(1, 2), (2, 4), (3, 6)]),
    ],
)
def test_the_map_is_that_of_the_paper_or_evenly_spaced(teacher, student, expected):
    assert layer_map(teacher, student) == expected


@given(st.integers(1, 80), st.integers(1, 80))
def test_every_map_rises_and_ends_with_the_last_layers(teacher: int, student: int):
    pairs = layer_map(teacher, student)
    assert pairs[-1] == (teacher, student)
    for side, count in ((0, teacher), (1, student)):
        layers = [pair[side] for pair in pairs]
        assert layers == sorted(set(layers))
        assert 1 <= layers[0] <= count


@pytest.mark.parametrize(("teacher", "student"), [(12, 6), (6, 3), (12, 5), (7, 7)])
def test_an_encoder_of_the_teachers_layers_is_compared_as_any_other(teacher, student):
    assert own_layers("bert", teacher, student) == layer_map(teacher, student)


def test_a_decoder_of_the_teachers_layers_is_compared_with_what_it_was_made_of():
    assert own_layers("llama", 30, 3) == [(1, 1), (2, 2), (3, 3)]


@pytest.mark.parametrize(
    ("kind", "start", "expected"),
    [
        ("llama", "teacher", [(1, 1), (2, 2)]),
        ("llama", "pretrained", [(2, 1), (4, 2)]),
        ("bert", "teacher", [(2, 1), (4, 2)]),
    ],
)
def test_only_a_student_of_its_layers_is_compared_with_a_decoders_first_ones(
    tmp_path, kind, start, expected
):
    names = ("n", "p")
    body = tiny_model(tmp_path / "body", kind, layers=2)
    folder = tiny_model(tmp_path / "teacher", kind, labels=names, layers=4)
    settings = {"student_init": start, "student_layers": 2, "student": str(body)}
    config = resolve([{"distillation": settings, "runtime": {"device": "cpu"}}])
    base = folder if start == "teacher" else body
    teacher, student = Classifier.load(folder, device="cpu"), start_student(config, base, names, 0)
    assert _compared_layers(config, teacher, student) == expected
