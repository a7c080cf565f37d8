import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from codlocal.core.sections import DistillationConfig
from codlocal.distillation.objectives import (
    OBJECTIVES,
    LayerStates,
    ObjectiveInputs,
    SoftOutputs,
    distillation_loss,
    hard_label_ce,
    layer_mse,
    pair_difference_mse,
    soft_targets_kl,
    task_loss,
)

logits = npst.arrays(
    np.float32, st.tuples(st.integers(1, 6), st.integers(2, 5)), elements=st.floats(-9, 9, width=32)
)


def _softmax(values: np.ndarray, temperature: float) -> np.ndarray:
    exponentials = np.exp(values.astype(np.float64) / temperature)
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def _kl(student: np.ndarray, teacher: np.ndarray, temperature: float) -> float:
    p, q = _softmax(teacher, temperature), _softmax(student, temperature)
    return float((p * np.log(p / q)).sum() / len(p) * temperature**2)


def _random(n: int, classes: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(n)
    draw = torch.randn(2, n, classes, generator=generator)
    return draw[0].requires_grad_(), draw[1].requires_grad_()


@given(logits, st.sampled_from([0.5, 1.0, 2.0, 4.0]))
def test_the_divergence_is_that_of_the_formula(student: np.ndarray, temperature: float):
    teacher = student[:, ::-1].copy()
    found = soft_targets_kl(torch.tensor(student), torch.tensor(teacher), temperature)
    assert found.shape == ()
    assert found.item() == pytest.approx(_kl(student, teacher, temperature), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("n", [1, 5])
def test_the_cross_entropy_is_that_of_the_formula(n: int):
    student, _ = _random(n)
    labels = torch.arange(n) % 3
    probabilities = _softmax(student.detach().numpy(), 1)
    expected = -np.log(probabilities[np.arange(n), labels]).mean()
    assert hard_label_ce(student, labels).item() == pytest.approx(expected, rel=1e-5)


def test_the_divergence_is_zero_where_student_and_teacher_agree():
    student, _ = _random(4)
    assert soft_targets_kl(student, student + 3.0, 2.0).item() == pytest.approx(0, abs=1e-6)


def test_no_gradient_reaches_the_teacher():
    student, teacher = _random(4)
    soft_targets_kl(student, teacher, 2.0).backward()
    assert teacher.grad is None
    assert student.grad is not None
    assert student.grad.abs().sum() > 0


def test_the_factor_keeps_gradients_of_one_size_at_high_temperatures():
    norms = []
    for temperature in (50.0, 100.0):
        student, teacher = _random(4)
        soft_targets_kl(student, teacher, temperature).backward()
        norms.append(student.grad.norm().item())
    assert norms[0] == pytest.approx(norms[1], rel=0.05)


def test_half_precision_logits_are_compared_in_full_precision():
    student, teacher = _random(4)
    half = soft_targets_kl(student.bfloat16(), teacher.bfloat16(), 2.0)
    assert half.dtype == torch.float32


@pytest.mark.parametrize("n", [1, 4])
def test_the_terms_are_weighted_and_add_up(n: int):
    student, teacher = _random(n)
    labels = torch.arange(n) % 3
    settings = DistillationConfig(kl_weight=20, temperature=2)
    terms = distillation_loss(ObjectiveInputs(student, teacher, labels), settings).to_terms()
    expected = 20 * _kl(student.detach().numpy(), teacher.detach().numpy(), 2)
    assert terms.kl == pytest.approx(expected, rel=1e-4)
    assert terms.task == pytest.approx(hard_label_ce(student, labels).item())
    assert terms.total == pytest.approx(terms.task + terms.kl)


LENGTHS = (2, 5, 3)


def _states(padding: int = 0, widths: tuple[int, ...] = (4, 4)) -> list[LayerStates]:
    """Random states of texts of `LENGTHS` tokens, with garbage where there is padding."""
    layers = []
    tokens = max(LENGTHS) + padding
    mask = torch.tensor([[1] * one + [0] * (tokens - one) for one in LENGTHS])
    for number, width in enumerate(widths):
        generator = torch.Generator().manual_seed(number)
        draw = torch.full((2, len(LENGTHS), tokens, width), 1e6)
        draw[1] *= -1
        values = torch.randn(2, len(LENGTHS), max(LENGTHS), width, generator=generator)
        for text, length in enumerate(LENGTHS):
            draw[:, text, :length] = values[:, text, :length]
        layers.append(LayerStates(draw[0].requires_grad_(), draw[1].requires_grad_(), mask))
    return layers


def test_the_layer_error_is_that_of_the_formula():
    layers = _states(widths=(4, 6))
    expected = []
    for states in layers:
        student, teacher = states.student.detach().numpy(), states.teacher.detach().numpy()
        errors = [
            (student[text, token, unit] - teacher[text, token, unit]) ** 2
            for text, length in enumerate(LENGTHS)
            for token in range(length)
            for unit in range(student.shape[2])
        ]
        expected.append(sum(errors) / len(errors))
    found = layer_mse(layers)
    assert found.shape == ()
    assert found.item() == pytest.approx(np.mean(expected), rel=1e-5)


def test_the_layer_error_does_not_depend_on_padding():
    assert layer_mse(_states(padding=4)).item() == pytest.approx(layer_mse(_states()).item())


def test_the_layer_error_is_zero_for_equal_states_and_its_gradient_the_students_alone():
    layers = _states()
    same = [LayerStates(one.student, one.student, one.mask) for one in layers]
    assert layer_mse(same).item() == 0
    layer_mse(layers).backward()
    assert all(one.teacher.grad is None for one in layers)
    assert all(one.student.grad[0, 0].abs().sum() > 0 for one in layers)
    assert all(one.student.grad[0, 2:].abs().sum() == 0 for one in layers)


def test_layer_wise_distillation_adds_the_layer_term():
    student, teacher = _random(3)
    labels = torch.arange(3)
    layers = _states()
    inputs = ObjectiveInputs(student, teacher, labels, layers)
    settings = DistillationConfig(method="lwd", layer_weight=5)
    terms = distillation_loss(inputs, settings).to_terms()
    plain = distillation_loss(inputs, DistillationConfig(method="kd")).to_terms()
    assert (terms.task, terms.kl) == (plain.task, plain.kl)
    assert plain.layer == plain.pair == terms.pair == 0
    assert terms.layer == pytest.approx(5 * layer_mse(layers).item())
    assert terms.total == pytest.approx(plain.total + terms.layer)


@given(logits.filter(lambda values: len(values) > 1), st.floats(-5, 5), st.floats(-5, 5))
def test_the_pair_term_is_that_of_the_formula_and_sees_no_common_shift(student, first, second):
    teacher = np.tanh(student[:, ::-1]) * 3
    pairs = [(0, 1), (len(student) - 1, 0)]
    steps = []
    for original, other in pairs:
        for logits_of in (student, teacher):
            step = np.log(_softmax(logits_of, 1))[other] - np.log(_softmax(logits_of, 1))[original]
            steps.append(step - step.mean())
    expected = np.mean(
        [(mine - its) ** 2 for mine, its in zip(steps[::2], steps[1::2], strict=True)]
    )
    shifts = np.linspace(first, second, len(student))[:, None]
    found = [
        pair_difference_mse(torch.tensor(mine), torch.tensor(its), pairs).item()
        for mine, its in [
            (student, teacher),
            (student + shifts, teacher),
            (student, teacher - shifts),
        ]
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_the_pair_term_is_zero_where_the_steps_agree_and_leaves_the_teacher_alone():
    student, teacher = _random(4)
    steady = teacher.detach() + torch.tensor([1.0, -2.0, 5.0])
    pairs = [(0, 1), (3, 2)]
    assert pair_difference_mse(teacher, teacher, pairs).item() == 0
    assert pair_difference_mse(steady, teacher, pairs).item() == pytest.approx(0, abs=1e-10)
    pair_difference_mse(student, teacher, pairs[:1]).backward()
    assert teacher.grad is None
    assert (student.grad.abs().sum(dim=1) > 0).tolist() == [True, True, False, False]


@pytest.mark.parametrize("method", list(OBJECTIVES))
def test_every_method_can_have_the_terms_of_pairs(method: str):
    student, teacher = _random(3)
    mine, its = _random(2)
    inputs = ObjectiveInputs(
        student, teacher, torch.arange(3), _states(), [(0, 2)], SoftOutputs(mine, its)
    )
    settings = DistillationConfig(method=method, pair_weight=3, interpolation_weight=10)
    loss = distillation_loss(inputs, settings)
    terms = loss.to_terms()
    expected = 10 * _kl(mine.detach().numpy(), its.detach().numpy(), 2)
    assert terms.interpolation == pytest.approx(expected, rel=1e-4)
    difference = pair_difference_mse(student, teacher, [(0, 2)]).item()
    assert terms.pair == pytest.approx(3 * difference)
    assert terms.total == pytest.approx(
        terms.task + terms.kl + terms.layer + terms.pair + terms.interpolation
    )
    loss.total.backward()
    assert teacher.grad is its.grad is None
    assert mine.grad.abs().sum() > 0
    same = ObjectiveInputs(
        student, student, torch.arange(3), _states(), [(0, 2)], SoftOutputs(mine, mine)
    )
    terms = distillation_loss(same, settings).to_terms()
    assert terms.interpolation == pytest.approx(0, abs=1e-5)
    assert terms.pair == 0
    plain = distillation_loss(inputs, DistillationConfig(method=method, pair_weight=0))
    assert plain.pair is None


@pytest.mark.parametrize("method", list(OBJECTIVES))
def test_recombined_texts_add_the_methods_soft_terms(method: str):
    student, teacher = _random(3)
    mine, its = _random(2)
    layers = () if method == "kd" else _states()
    soft = SoftOutputs(mine, its, layers)
    inputs = ObjectiveInputs(student, teacher, torch.arange(3), _states(), recombined=soft)
    settings = DistillationConfig(method=method, kl_weight=3, layer_weight=7)
    loss = distillation_loss(inputs, settings)
    expected = 3 * _kl(mine.detach().numpy(), its.detach().numpy(), 2)
    if layers:
        expected += 7 * layer_mse(layers).item()
    terms = loss.to_terms()
    assert terms.recombined == pytest.approx(expected, rel=1e-4)
    assert terms.total == pytest.approx(terms.task + terms.kl + terms.layer + terms.recombined)
    loss.total.backward()
    assert its.grad is None
    assert mine.grad.abs().sum() > 0


def test_fine_tuning_is_cross_entropy_alone():
    student, _ = _random(4)
    terms = task_loss(student, torch.zeros(4, dtype=torch.long)).to_terms()
    assert terms.kl == 0
    assert terms.total == terms.task


def test_every_method_of_the_configuration_has_an_objective():
    field = DistillationConfig.model_fields["method"]
    assert set(OBJECTIVES) == set(field.annotation.__args__)
