"""Steps of training, with the knowledge that a run gathers for them."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny import tiny_model

from codlocal.core.config import Config, resolve
from codlocal.core.console import Console
from codlocal.distillation.composition import TrainingSet, TrainingText
from codlocal.distillation.filters import TeacherFilters, teacher_filters
from codlocal.distillation.knowledge import Knowledge, same_tokens
from codlocal.distillation.layer_maps import layer_map
from codlocal.distillation.projections import ProjectedStudent, new_projections
from codlocal.distillation.starting import start_student
from codlocal.distillation.steps import DistillationStep, Targets
from codlocal.distillation.teacher_outputs import teacher_outputs
from codlocal.distillation.teacher_states import teacher_states
from codlocal.models.classifier import Classifier

NAMES = ("negative", "positive")
TEXTS = TrainingSet(
    (
        TrainingText("a", "the food was good", gold=1),
        TrainingText("a/0", "the food was so very bad", gold=None),
        TrainingText("b", "awful", gold=0),
    ),
    ((0, 1), (2,)),
    pairs=1,
)
BY_ID = {text.id: text.text for text in TEXTS.texts}


def _config(**settings: object) -> Config:
    return resolve([{"distillation": settings, "runtime": {"device": "cpu"}}])


QUIET = Console(-1)


def _layers(teacher: Classifier, student: Classifier) -> list[tuple[int, int]]:
    return layer_map(*(one.model.config.num_hidden_layers for one in (teacher, student)))


def _filters(folder: Path, teacher: Classifier, layers: list[int]) -> TeacherFilters:
    return teacher_filters(folder / "filters", teacher, "s", BY_ID, layers, QUIET)


def _knowledge(folder: Path, teacher: Classifier, student: Classifier, method: str) -> Knowledge:
    layers = _layers(teacher, student)
    wanted = [layer for layer, _ in layers]
    filters = _filters(folder, teacher, wanted) if method == "ted" else None
    return Knowledge(
        teacher_outputs(folder / "outputs", teacher, "s", BY_ID, QUIET),
        teacher,
        teacher_states(folder / "states", teacher, "s", BY_ID, wanted, QUIET, filters),
        tuple(layers),
        same_tokens(teacher, student, BY_ID),
        filters,
    )


def _step(
    folder: Path,
    teacher: Classifier,
    student: Classifier,
    config: Config,
    texts=TEXTS,
    shift=(0.0, 0.0),
    made=("the food was so awful", "bad the", "so good"),
) -> SimpleNamespace:
    knowledge = _knowledge(folder, teacher, student, config.distillation.method)
    logits = torch.from_numpy(knowledge.outputs.of(list(BY_ID)))
    targets = Targets(logits, logits.argmax(-1), torch.tensor(shift))
    settings = config.distillation
    step = DistillationStep(student, texts, knowledge, targets, settings, made)
    model = student.model
    if settings.method != "kd":
        projections = new_projections(len(knowledge.layers), 32, 32, seed=0)
        if settings.method == "ted":
            maps = _filters(folder, teacher, [layer for layer, _ in knowledge.layers]).maps
            projections = maps.requires_grad_(True)
        model = ProjectedStudent(model, [layer for _, layer in knowledge.layers], projections)
    return SimpleNamespace(loss=step, model=model, knowledge=knowledge)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A teacher whose boundary is between an original and its counterfactual."""
    folder = tiny_model(tmp_path_factory.mktemp("t"), labels=("POSITIVE", "negative"), layers=4)
    teacher = Classifier.load(folder, device="cpu")
    middle = teacher.logits([TEXTS.texts[0].text, TEXTS.texts[1].text]).mean(axis=0)
    with torch.no_grad():
        teacher.model.classifier.bias -= torch.from_numpy(middle)
    teacher.model.save_pretrained(folder)
    return folder


def _teacher(folder: Path) -> Classifier:
    return Classifier.load(folder, device="cpu", label_names=NAMES)


ALL_TERMS = {"method": "lwd", "pair_weight": 1, "interpolation_weight": 10, "recombined": 2}


@pytest.mark.parametrize("batch", [[0, 1, 2], [2, 1, 0], [2, 0]])
@pytest.mark.parametrize("method", ["lwd", "ted"])
def test_a_student_that_is_the_teacher_has_no_loss_but_the_labels(
    folder: Path, tmp_path: Path, method: str, batch: list[int]
):
    config = _config(student_init="teacher", student_layers=4, **{**ALL_TERMS, "method": method})
    student = start_student(config, folder, NAMES, 0)
    step = _step(tmp_path, _teacher(folder), student, config)
    terms = step.loss(step.model.eval(), batch).to_terms()
    for term in (terms.kl, terms.layer, terms.pair, terms.interpolation, terms.recombined):
        assert term == pytest.approx(0, abs=1e-5)
    assert terms.task > 0


def test_the_shift_moves_the_students_log_odds(folder: Path, tmp_path: Path):
    config = _config(student_init="teacher", student_layers=4, **{**ALL_TERMS, "method": "kd"})
    student = start_student(config, folder, NAMES, 0)
    found = [
        _step(tmp_path / str(at), _teacher(folder), student, config, shift=shift)
        for at, shift in enumerate([(3.0, 3.0), (3.0, 0.0), (0.0, 3.0)])
    ]
    found = [one.loss(one.model.eval(), [0, 1]).to_terms() for one in found]
    for term in ("kl", "interpolation", "recombined"):
        both, first, second = [getattr(one, term) for one in found]
        assert both == pytest.approx(0, abs=1e-5)
        assert first > 0.1
        assert second > 0.1


@pytest.mark.parametrize("method", ["lwd", "ted"])
def test_gradients_reach_the_student_and_its_projections_alone(
    folder: Path, tmp_path: Path, method: str
):
    config = _config(student_init="teacher", **{**ALL_TERMS, "method": method})
    student = start_student(config, folder, NAMES, 0)
    teacher = _teacher(folder)
    step = _step(tmp_path, teacher, student, config)
    loss = step.loss(step.model, [0, 1, 2])
    terms = (loss.layer, loss.pair, loss.interpolation, loss.recombined)
    assert all(one.requires_grad for one in terms)
    loss.total.backward()
    assert all(one.grad is None for one in teacher.model.parameters())
    missing = [name for name, one in step.model.named_parameters() if one.grad is None]
    assert missing == []


@pytest.mark.parametrize("term", ["interpolation", "recombined"])
def test_what_is_drawn_depends_on_the_global_seed_alone(folder: Path, tmp_path: Path, term: str):
    config = _config(student_init="teacher", interpolation_weight=1, recombined=2)
    step = _step(tmp_path, _teacher(folder), start_student(config, folder, NAMES, 0), config)
    step.model.eval()

    def drawn(seed: int) -> float:
        torch.manual_seed(seed)
        return getattr(step.loss(step.model, [0, 1]).to_terms(), term)

    found = [drawn(seed) for seed in range(8)]
    assert found == [drawn(seed) for seed in range(8)]
    assert len(set(found)) > 1


@pytest.mark.parametrize("method", ["kd", "lwd", "ted"])
@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_of_recombined_texts_the_teacher_is_asked_as_of_a_batch(tmp_path: Path, kind, method):
    teacher = _teacher(tiny_model(tmp_path / "teacher", kind, labels=NAMES[::-1], layers=4))
    config = _config(method=method, recombined=3)
    student = start_student(config, tiny_model(tmp_path / "student"), NAMES, 0)
    step = _step(tmp_path, teacher, student, config)
    rows = teacher.encoder.encode(list(BY_ID.values()))
    logits, states, mask = step.knowledge.ask(rows, torch.device("cpu"))
    np.testing.assert_allclose(logits, step.knowledge.outputs.of(list(BY_ID)), atol=1e-5)
    expected, expected_mask = step.knowledge.layer_targets(list(BY_ID), torch.device("cpu"))
    assert torch.equal(mask, expected_mask.to(mask))
    for mine, its in zip(states, expected, strict=True):
        weights = mask[..., None]
        np.testing.assert_allclose(mine * weights, its * weights, atol=1e-4)
    step.model.eval()
    torch.manual_seed(0)
    loss = step.loss(step.model, [0])
    assert loss.to_terms().recombined > 0


def test_an_encoder_decoder_is_asked_of_texts_without_its_states(tmp_path: Path):
    teacher = _teacher(tiny_model(tmp_path / "teacher", "bart", labels=NAMES))
    teacher.model.config.eos_token_id = teacher.encoder.tokenizer.sep_token_id
    outputs = teacher_outputs(tmp_path / "outputs", teacher, "s", BY_ID, QUIET)
    rows = teacher.encoder.encode(list(BY_ID.values()))
    logits, states, _ = Knowledge(outputs, teacher).ask(rows, torch.device("cpu"))
    np.testing.assert_allclose(logits, outputs.of(list(BY_ID)), atol=1e-5)
    assert states == []


@pytest.mark.parametrize("method", ["kd", "lwd"])
def test_recombined_texts_are_cut_where_the_teacher_cuts_them(folder: Path, tmp_path: Path, method):
    teacher = Classifier.load(folder, device="cpu", max_length=16, label_names=NAMES)
    config = _config(method=method, student_init="teacher", student_layers=4, recombined=3)
    student = start_student(config, folder, NAMES, 0)
    assert student.encoder.max_length > 16
    step = _step(tmp_path, teacher, student, config, made=["so good food " * 6, "bad " * 20])
    assert step.knowledge.same_tokens
    asked = []
    ask = teacher.model.forward
    teacher.model.forward = lambda **given: asked.append(given["input_ids"]) or ask(**given)
    step.loss(step.model, [0])
    assert [one.shape[1] for one in asked] == [16]


def test_without_a_pair_in_the_batch_or_a_weight_nothing_is_mixed(folder: Path, tmp_path: Path):
    config = _config(student_init="teacher", interpolation_weight=1)
    student = start_student(config, folder, NAMES, 0)
    step = _step(tmp_path, _teacher(folder), student, config)
    assert step.loss(step.model, [2]).interpolation is None
    plain = _step(tmp_path, _teacher(folder), student, _config(student_init="teacher"))
    state = torch.get_rng_state()
    loss = plain.loss(plain.model.eval(), [0, 1])
    assert loss.interpolation is loss.pair is loss.recombined is None
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("kind", "method"), [("llama", "lwd"), ("gemma3", "ted")])
def test_a_teacher_with_other_tokens_is_compared_by_means(tmp_path: Path, kind: str, method: str):
    teacher = _teacher(tiny_model(tmp_path / "teacher", kind, labels=NAMES, layers=4))
    config = _config(**{**ALL_TERMS, "method": method})
    student = start_student(config, tiny_model(tmp_path / "student"), NAMES, 0)
    step = _step(tmp_path, teacher, student, config)
    assert not step.knowledge.same_tokens
    states, mask = step.knowledge.layer_targets(["b", "a"], torch.device("cpu"))
    assert states.shape == (2, 2, 1, 32)
    assert mask.tolist() == [[1], [1]]
    expected = [one.mean(dim=1) for one in step.knowledge.states.of(["b", "a"])]
    np.testing.assert_allclose(states[:, 0, 0], expected[0], atol=1e-6)
    np.testing.assert_allclose(states[:, 1, 0], expected[1], atol=1e-6)
    step.model.eval()
    torch.manual_seed(0)
    together = step.loss(step.model, [0, 1, 2]).to_terms()
    assert together.layer > 0
    alone = [step.loss(step.model, [index]).to_terms().layer for index in range(3)]
    assert together.layer == pytest.approx(np.mean(alone), rel=1e-4)


def test_targets_of_the_same_tokens_are_padded_with_their_mask(folder: Path, tmp_path: Path):
    config = _config(student_init="teacher", method="lwd")
    student = start_student(config, folder, NAMES, 0)
    step = _step(tmp_path, _teacher(folder), student, config)
    states, mask = step.knowledge.layer_targets(["b", "a"], torch.device("cpu"))
    lengths = [one.shape[1] for one in step.knowledge.states.of(["b", "a"])]
    assert states.shape == (2, 2, max(lengths), 32)
    assert mask.sum(dim=1).tolist() == lengths
    for number, one in enumerate(step.knowledge.states.of(["b", "a"])):
        assert torch.equal(states[:, number, : lengths[number]], one)


def test_counterfactuals_alone_in_a_group_are_no_pair(folder: Path, tmp_path: Path):
    config = _config(student_init="teacher", pair_weight=1, interpolation_weight=1)
    student = start_student(config, folder, NAMES, 0)
    first, second, third = TEXTS.texts
    alone = replace(TEXTS, texts=(replace(first, gold=None), second, third))
    for texts, paired in ((TEXTS, True), (alone, False)):
        step = _step(tmp_path, _teacher(folder), student, config, texts)
        loss = step.loss(step.model, [0, 1, 2])
        assert (loss.pair is not None, loss.interpolation is not None) == (paired, paired)


def test_states_that_were_not_gathered_are_a_programming_error(folder: Path, tmp_path: Path):
    teacher = _teacher(folder)
    bare = Knowledge(teacher_outputs(tmp_path / "o", teacher, "s", BY_ID, Console(-1)), teacher)
    with pytest.raises(ValueError, match="not computed"):
        bare.layer_targets(["a"], torch.device("cpu"))


def test_texts_that_are_cut_at_other_lengths_are_other_tokens(folder: Path):
    short = Classifier.load(folder, device="cpu", max_length=4, label_names=NAMES)
    assert same_tokens(_teacher(folder), _teacher(folder), BY_ID)
    assert not same_tokens(_teacher(folder), short, BY_ID)
