from pathlib import Path

import pytest
import torch
from tiny import tiny_model

from codlocal.core.sections import RuntimeConfig
from codlocal.distillation.batches import pair_batches
from codlocal.distillation.filters import train_filters
from codlocal.distillation.loop import LoopSettings, StepRecord, train
from codlocal.distillation.objectives import LayerStates, LossTensors, layer_mse, task_loss
from codlocal.distillation.projections import ProjectedStudent, new_projections
from codlocal.models.initialise import new_classifier

IDS = torch.randint(5, 40, (4, 6), generator=torch.Generator().manual_seed(0))
MASK = torch.ones(4, 6, dtype=torch.long)


def _student(folder: Path, width: int, seed: int = 0) -> ProjectedStudent:
    student = new_classifier(folder, ("n", "p"), device="cpu")
    return ProjectedStudent(student.model, (1, 2), new_projections(2, 32, width, seed))


@pytest.fixture(scope="module")
def body(tmp_path_factory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("body"))


def test_drawing_weights_leaves_the_gpus_alone(body: Path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: pytest.fail(f"GPU {device}"))
    student = new_classifier(body, ("n", "p"), device="cpu")
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    new_projections(2, 32, 16, 0)
    train_filters(torch.rand(2, 4, 32, generator=torch.Generator()), torch.arange(4), 4, 16)
    assert student.device.type == "cpu"
    assert torch.equal(torch.rand(3), expected)


def test_states_of_equal_width_are_the_students_own_at_first(body: Path):
    model = _student(body, 32).eval()
    with torch.no_grad():
        found = model(input_ids=IDS, attention_mask=MASK)
        own = model.student(input_ids=IDS, attention_mask=MASK, output_hidden_states=True)
    assert torch.equal(found.logits, own.logits)
    for states, layer in zip(found.states, (1, 2), strict=True):
        torch.testing.assert_close(states, own.hidden_states[layer])


def test_states_of_another_width_are_projected_to_it(body: Path):
    model = _student(body, 48).eval()
    found = model(input_ids=IDS, attention_mask=MASK)
    assert [tuple(states.shape) for states in found.states] == [(4, 6, 48)] * 2
    assert not torch.equal(model.projections[0].weight, model.projections[1].weight)


def test_projections_depend_on_the_seed_alone(body: Path):
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = _student(body, 48, seed=1).projections[0].weight
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(_student(body, 48, seed=1).projections[0].weight, first)
    assert not torch.equal(_student(body, 48, seed=2).projections[0].weight, first)


class StoppedError(Exception):
    """What a test raises in the middle of training."""


def _train(body: Path, folder: Path, stop_at: int | None = None) -> dict[str, torch.Tensor]:
    goal = torch.randn(4, 6, 48, generator=torch.Generator().manual_seed(5))

    def step_loss(model: torch.nn.Module, batch: list[int]) -> LossTensors:
        output = model(input_ids=IDS[batch], attention_mask=MASK[batch])
        layers = [LayerStates(one, goal[batch], MASK[batch]) for one in output.states]
        task = task_loss(output.logits, torch.zeros(len(batch), dtype=torch.long)).task
        return LossTensors(task=task, layer=layer_mse(layers))

    def on_step(record: StepRecord) -> None:
        if record.step == stop_at:
            raise StoppedError

    model = _student(body, 48)
    settings = LoopSettings(steps=10, batch_size=2, learning_rate=0.01, seed=3, key="k")
    batches = pair_batches([[i] for i in range(4)], 2, 10, 3)
    runtime = RuntimeConfig(device="cpu", checkpoint_steps=3)
    train(model, step_loss, batches, settings, runtime, folder, on_step)
    return model.state_dict()


def test_projections_are_trained_and_resumed_bit_by_bit(body: Path, tmp_path: Path):
    fresh = _student(body, 48).state_dict()
    whole = _train(body, tmp_path / "whole")
    assert all(not torch.equal(whole[name], fresh[name]) for name in fresh if "projections" in name)
    with pytest.raises(StoppedError):
        _train(body, tmp_path / "cut", stop_at=8)
    resumed = _train(body, tmp_path / "cut")
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)
