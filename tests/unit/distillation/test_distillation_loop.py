import gc
import json
import shutil
import weakref
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.optim.optimizer import register_optimizer_step_pre_hook

from codlocal.core.errors import ModelError
from codlocal.core.sections import RuntimeConfig
from codlocal.distillation import loop
from codlocal.distillation.batches import pair_batches
from codlocal.distillation.checkpoints import load_checkpoint, remove_checkpoints, save_checkpoint
from codlocal.distillation.loop import TRAIN_LOG, LoopSettings, StepRecord, train
from codlocal.distillation.objectives import LossTensors, task_loss

DATA = torch.randn(12, 6, generator=torch.Generator().manual_seed(0))
LABELS = (DATA[:, 0] > 0).long()
SETTINGS = LoopSettings(steps=20, batch_size=4, learning_rate=0.01, seed=3, key="k")
RUNTIME = RuntimeConfig(device="cpu", checkpoint_steps=6)


class StoppedError(Exception):
    """What a test raises in the middle of training."""


def _model() -> torch.nn.Module:
    torch.manual_seed(7)
    layers = [torch.nn.Linear(6, 16), torch.nn.ReLU(), torch.nn.Dropout(0.3)]
    return torch.nn.Sequential(*layers, torch.nn.Linear(16, 2))


def _step_loss(model: torch.nn.Module, batch: list[int]) -> LossTensors:
    return task_loss(model(DATA[batch]), LABELS[batch])


def _train(folder: Path, *, stop_at: int | None = None, settings=SETTINGS, step_loss=_step_loss):
    def on_step(record: StepRecord) -> None:
        if record.step == stop_at:
            raise StoppedError

    model = _model()
    batches = pair_batches([[i] for i in range(12)], settings.batch_size, settings.steps, 3)
    train(model, step_loss, batches, settings, RUNTIME, folder, on_step)
    return model.state_dict()


def _same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


def _log(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in folder.joinpath(TRAIN_LOG).read_text().splitlines()]


def test_training_lowers_the_loss_and_logs_every_step(tmp_path: Path):
    _train(tmp_path)
    log = _log(tmp_path)
    assert [row["step"] for row in log] == list(range(1, 21))
    assert log[-1]["total"] < log[0]["total"]
    assert log[0]["learning_rate"] == 0.01
    assert log[-1]["learning_rate"] == pytest.approx(0.01 / 20)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path: Path):
    first = _train(tmp_path / "a")
    torch.manual_seed(99)
    assert _same(first, _train(tmp_path / "b"))
    other = LoopSettings(steps=20, batch_size=4, learning_rate=0.01, seed=4, key="k")
    assert not _same(first, _train(tmp_path / "c", settings=other))


@pytest.mark.usefixtures("fresh_accelerator")
def test_a_model_trained_in_half_precision_goes_with_its_last_use(tmp_path: Path):
    model = _model()
    runtime = RUNTIME.model_copy(update={"dtype": "bfloat16"})
    train(model, _step_loss, [[0, 1]] * 20, SETTINGS, runtime, tmp_path, lambda _: None)
    gone = weakref.ref(model)
    gc.disable()
    try:
        del model
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("stop_at", [1, 6, 7, 12, 17, 20])
def test_training_that_was_stopped_ends_in_the_same_weights(tmp_path: Path, stop_at: int):
    whole = _train(tmp_path / "whole")
    with pytest.raises(StoppedError):
        _train(tmp_path / "cut", stop_at=stop_at)
    assert _same(whole, _train(tmp_path / "cut"))
    assert _log(tmp_path / "cut") == _log(tmp_path / "whole")


def test_saving_takes_a_small_share_of_the_time(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(loop.time, "monotonic", lambda: now[0])
    pace = loop._Pace()
    for took, passed, allowed in ((0.9, 0.0, True), (2.0, 19.0, False), (2.0, 21.0, True)):
        with pace:
            now[0] += took
        now[0] += passed
        assert pace.allows() == allowed


def test_states_that_are_slow_to_save_are_saved_less_often(tmp_path: Path, monkeypatch):
    saved = []
    monkeypatch.setattr(loop, "save_checkpoint", lambda _place, step, *_: saved.append(step))
    _train(tmp_path / "fast")
    assert saved == [6, 12, 18]
    monkeypatch.setattr(loop._Pace, "_SMALL", -1.0)
    monkeypatch.setattr(loop._Pace, "_SHARE", 0.0)
    _train(tmp_path / "slow")
    assert saved == [6, 12, 18]


def test_a_phase_has_a_folder_for_its_log_and_states_and_a_curve_beside(tmp_path, monkeypatch):
    curves = []
    tracking = loop.tracking
    monkeypatch.setattr(
        loop, "tracking", lambda *given: curves.append(given[2]) or tracking(*given)
    )
    folder = tmp_path / "student.partial"
    with pytest.raises(StoppedError):
        _train(folder, stop_at=7, settings=replace(SETTINGS, phase="tuning"))
    assert [path.name for path in folder.iterdir()] == ["tuning"]
    assert {path.name for path in folder.joinpath("tuning").iterdir()} == {
        TRAIN_LOG, "checkpoint-0000006",
    }  # fmt: skip
    assert [(one.path, one.begin) for one in curves] == [(tmp_path / "student-tuning", 0)]
    _train(folder, settings=replace(SETTINGS, phase="tuning"))
    assert curves[1] == replace(curves[0], begin=6)
    _train(tmp_path / "again.partial", settings=replace(SETTINGS, phase="tuning"))
    assert curves[2].id != curves[0].id


def test_another_training_does_not_resume_from_what_lies_there(tmp_path: Path):
    with pytest.raises(StoppedError):
        _train(tmp_path, stop_at=13)
    other = LoopSettings(steps=20, batch_size=4, learning_rate=0.01, seed=3, key="other")
    assert _same(_train(tmp_path, settings=other), _train(tmp_path / "whole"))
    assert len(_log(tmp_path)) == 20


def test_a_loss_that_is_not_finite_stops_training_and_names_the_step(tmp_path: Path):
    def step_loss(model: torch.nn.Module, batch: list[int]) -> LossTensors:
        terms = _step_loss(model, batch)
        scale = float("nan") if len(_log(tmp_path)) == 4 else 1.0
        return LossTensors(terms.task * scale)

    with pytest.raises(ModelError, match="at step 5: loss nan") as caught:
        _train(tmp_path, step_loss=step_loss)
    assert "learning rate" in caught.value.hint


@pytest.fixture
def norms():
    """The gradients' norms, as the optimizer gets them."""
    found: list[float] = []

    def note(optimizer: torch.optim.Optimizer, *_: object) -> None:
        weights = [one for group in optimizer.param_groups for one in group["params"]]
        found.append(float(torch.cat([one.grad.flatten() for one in weights]).norm()))

    hook = register_optimizer_step_pre_hook(note)
    yield found
    hook.remove()


def test_gradients_longer_than_one_are_cut_to_it_and_others_left(tmp_path: Path, norms):
    def step_loss(model: torch.nn.Module, batch: list[int]) -> LossTensors:
        scale = 1000.0 if len(norms) < 10 else 0.01
        return LossTensors(_step_loss(model, batch).task * scale)

    _train(tmp_path, step_loss=step_loss)
    assert norms[:10] == pytest.approx([1.0] * 10, rel=1e-4)
    assert len(norms) == 20 and max(norms[10:]) < 0.1
    assert len({*norms[10:]}) == 10


def _adam(model: torch.nn.Module) -> torch.optim.AdamW:
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, fused=True)
    _step_loss(model, [0, 1, 2]).total.backward()
    optimizer.step()
    return optimizer


def test_a_checkpoint_restores_weights_and_moments(tmp_path: Path):
    model = _model()
    optimizer = _adam(model)
    save_checkpoint(tmp_path, 5, model, optimizer, "k")
    other = _model()
    restored = torch.optim.AdamW(other.parameters(), fused=True)
    assert load_checkpoint(tmp_path, other, restored, "k")[0] == 5
    assert _same(model.state_dict(), other.state_dict())
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert _same(optimizer.state[one], restored.state[two])


def test_only_the_newest_checkpoint_is_kept_and_none_holds_a_pickle(tmp_path: Path):
    model = _model()
    optimizer = _adam(model)
    for step in (5, 10):
        save_checkpoint(tmp_path, step, model, optimizer, "k")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-0000010"]
    suffixes = {path.suffix for path in tmp_path.rglob("*") if path.is_file()}
    assert suffixes == {".safetensors", ".json"}
    remove_checkpoints(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_that_was_cut_off_is_not_read(tmp_path: Path):
    model = _model()
    optimizer = _adam(model)
    save_checkpoint(tmp_path, 5, model, optimizer, "k")
    tmp_path.joinpath("checkpoint.partial").mkdir()
    tmp_path.joinpath("checkpoint.partial/model.safetensors").write_bytes(b"half")
    assert load_checkpoint(tmp_path, model, optimizer, "k")[0] == 5
    save_checkpoint(tmp_path, 10, model, optimizer, "k")
    assert load_checkpoint(tmp_path, model, optimizer, "k")[0] == 10


@pytest.mark.parametrize(
    ("damaged", "content"),
    [
        ("state.json", ""),
        ("state.json", "{}"),
        ("state.json", "[1]"),
        ("state.json", "[" * 100_000),
        ("model.safetensors", ""),
        ("optimizer.safetensors", ""),
    ],
)
def test_a_checkpoint_that_cant_be_read_is_passed_over(tmp_path: Path, damaged: str, content: str):
    whole = _train(tmp_path / "whole")
    folder = tmp_path / "cut"
    with pytest.raises(StoppedError):
        _train(folder, stop_at=7)
    folder.joinpath("checkpoint-0000006", damaged).write_text(content)
    with pytest.warns(UserWarning, match="checkpoint-0000006 can't be read"):
        assert _same(whole, _train(folder))
    assert _log(folder) == _log(tmp_path / "whole")


def test_before_one_that_cant_be_read_comes_the_older_checkpoint(tmp_path: Path):
    model = _model()
    optimizer = _adam(model)
    save_checkpoint(tmp_path, 5, model, optimizer, "k")
    newest = tmp_path / "checkpoint-0000010"
    shutil.copytree(tmp_path / "checkpoint-0000005", newest)
    newest.joinpath("optimizer.safetensors").write_bytes(b"")
    with pytest.warns(UserWarning, match="checkpoint-0000010 can't be read"):
        assert load_checkpoint(tmp_path, model, optimizer, "k")[0] == 5


def test_the_files_of_a_checkpoint_are_on_the_disk(tmp_path: Path, synced):
    model = _model()
    save_checkpoint(tmp_path, 5, model, _adam(model), "k")
    assert synced >= {"model.safetensors", "optimizer.safetensors", "state.json"}


def test_a_checkpoint_of_another_number_of_weights_is_not_resumed(tmp_path: Path):
    model = _model()
    model[0].requires_grad_(False)
    save_checkpoint(tmp_path, 5, model, _adam(model), "k")
    whole = _model()
    assert load_checkpoint(tmp_path, whole, _adam(whole), "k")[0] == 0


def test_parameters_without_a_gradient_have_no_moments_to_save(tmp_path: Path):
    model = _model()
    model[0].requires_grad_(False)
    optimizer = _adam(model)
    save_checkpoint(tmp_path, 1, model, optimizer, "k")
    assert load_checkpoint(tmp_path, model, optimizer, "k")[0] == 1


def test_weights_that_do_not_train_are_not_saved(tmp_path: Path):
    model = _model()
    model[0].requires_grad_(False)
    save_checkpoint(tmp_path, 1, model, _adam(model), "k")
    kept = load_file(tmp_path / "checkpoint-0000001" / "model.safetensors")
    assert set(kept) == {"3.weight", "3.bias"}
