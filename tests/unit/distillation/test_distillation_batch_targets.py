"""What a batch is compared with is what its own texts are to become, whatever their order."""

import pytest
import torch
from tiny import tiny_model

from codlocal.core.config import resolve
from codlocal.core.console import Console
from codlocal.core.records import Example
from codlocal.distillation import finetune
from codlocal.distillation.composition import TrainingSet, TrainingText
from codlocal.distillation.knowledge import Knowledge
from codlocal.distillation.objectives import hard_label_ce, pair_difference_mse, soft_targets_kl
from codlocal.distillation.steps import DistillationStep, Targets
from codlocal.distillation.teacher_outputs import TeacherOutputs
from codlocal.models.classifier import Classifier

WORDS = ("the food was good", "the food was so very bad", "awful")
BATCHES = [[0, 1, 2], [2, 1, 0], [2, 0], [1]]


@pytest.fixture(scope="module")
def classifier(tmp_path_factory) -> Classifier:
    folder = tiny_model(tmp_path_factory.mktemp("model"), labels=("n", "p"), seed=3)
    found = Classifier.load(folder, device="cpu")
    found.model.eval()
    return found


def logits_of(classifier, batch):
    return torch.from_numpy(classifier.logits([WORDS[at] for at in batch]))


@pytest.mark.parametrize("batch", BATCHES)
def test_a_step_of_distillation(classifier, batch):
    gold = (1, None, 0)
    texts = tuple(TrainingText(str(at), WORDS[at], gold[at]) for at in range(3))
    goal = torch.tensor([[3.0, 0.0], [0.0, 1.0], [-2.0, 2.0]])
    labels = torch.tensor([0, 1, 1])
    settings = resolve([{"distillation": {"pair_weight": 1, "kl_weight": 1}}]).distillation
    knowledge = Knowledge(TeacherOutputs({}, goal.numpy()), classifier)
    step = DistillationStep(
        classifier,
        TrainingSet(texts, ((0, 1), (2,))),
        knowledge,
        Targets(goal, labels, torch.zeros(2)),
        settings,
    )
    terms = step(classifier.model, batch).to_terms()
    mine = logits_of(classifier, batch)
    assert terms.task == pytest.approx(hard_label_ce(mine, labels[batch]).item(), abs=1e-5)
    divergence = soft_targets_kl(mine, goal[batch], settings.temperature)
    assert terms.kl == pytest.approx(divergence.item(), abs=1e-5)
    if {0, 1} <= {*batch}:
        pair = [(batch.index(0), batch.index(1))]
        moved = pair_difference_mse(mine, goal[batch], pair)
        assert terms.pair == pytest.approx(moved.item(), abs=1e-5)


def test_a_flip_of_a_flip_is_no_pair_with_the_original(classifier):
    gold = (1, None, None)
    texts = tuple(TrainingText(str(at), WORDS[at], gold[at]) for at in range(3))
    goal = torch.tensor([[3.0, 0.0], [0.0, 1.0], [2.0, -2.0]])
    settings = resolve([{"distillation": {"pair_weight": 1}}]).distillation
    step = DistillationStep(
        classifier,
        TrainingSet(texts, ((0, 1, 2),)),
        Knowledge(TeacherOutputs({}, goal.numpy()), classifier),
        Targets(goal, goal.argmax(-1), torch.zeros(2)),
        settings,
    )
    found = step(classifier.model, [0, 1, 2]).to_terms().pair
    expected = pair_difference_mse(logits_of(classifier, [0, 1, 2]), goal, [(0, 1)]).item()
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("batch", BATCHES)
def test_a_step_of_the_teachers_own_training(classifier, batch, tmp_path, monkeypatch):
    steps = []
    monkeypatch.setattr(finetune, "fit", lambda _model, step, *_: steps.append(step))
    labels = [0, 1, 1]
    examples = [Example(id=str(at), text=text, label=labels[at]) for at, text in enumerate(WORDS)]
    config = resolve([{"runtime": {"device": "cpu"}}])
    finetune.fine_tune(classifier, examples, config, "key", tmp_path, Console(-1))
    expected = hard_label_ce(logits_of(classifier, batch), torch.tensor(labels)[batch])
    classifier.model.eval()
    assert steps[0](classifier.model, batch).total.item() == pytest.approx(
        expected.item(), abs=1e-5
    )
