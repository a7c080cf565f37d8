"""The one training loop: teachers are fine-tuned and students distilled by it.

Everything random is a function of the seed and the step's number (batches, dropout), as is the
learning rate; so training that is killed and started again ends in the same weights: on CPUs bit
by bit, while a GPU may add numbers up in another order each time.
"""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from uuid import uuid4

import torch
from accelerate import Accelerator

from codlocal.core import jsonl
from codlocal.core.errors import ModelError
from codlocal.core.records import LossTerms
from codlocal.core.sections import RuntimeConfig
from codlocal.distillation.checkpoints import load_checkpoint, save_checkpoint
from codlocal.distillation.objectives import LossTensors
from codlocal.distillation.trackers import Curve, curve_of, tracker_options, tracking
from codlocal.models.devices import device_of, training_dtype

TRAIN_LOG = "train_log.jsonl"
_CLIP_NORM = 1.0
_SEED_STRIDE = 1_000_003

StepLoss = Callable[[torch.nn.Module, list[int]], LossTensors]


class StepRecord(LossTerms):
    """One line of the training log: the loss at a step (from 1) and the learning rate it used."""

    step: int
    learning_rate: float


@dataclass(frozen=True)
class LoopSettings:
    """How long and how fast to train.

    `key` names the training: it resumes only its own states. A `phase` before the last one keeps
    its log and its states in a folder of that name.
    """

    steps: int
    batch_size: int
    learning_rate: float
    seed: int
    key: str
    phase: str = ""


class _Pace:
    """Keeps what takes seconds, as saving large models does, to a small share of all time."""

    _SMALL, _SHARE = 1.0, 0.1

    def __init__(self) -> None:
        self._begun = self._took = self._ended = 0.0

    def allows(self) -> bool:
        """Whether as much time has passed since the last time as that was worth."""
        passed = time.monotonic() - self._ended
        return self._took < self._SMALL or self._took < self._SHARE * passed

    def __enter__(self) -> None:
        self._begun = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._ended = time.monotonic()
        self._took = self._ended - self._begun


def train(
    model: torch.nn.Module,
    step_loss: StepLoss,
    batches: Iterable[list[int]],
    settings: LoopSettings,
    runtime: RuntimeConfig,
    folder: Path,
    on_step: Callable[[StepRecord], None],
) -> LossTerms:
    """Train `model` in place with AdamW and a linearly falling learning rate; return the last loss.

    `folder` gets the log and the checkpoints, and is where an interrupted training goes on from.
    `on_step` is called after every step, once its record is in the log.

    Raises:
        ModelError: the loss or the gradient is not finite.

    """
    accelerator, place = _accelerator(runtime, folder), folder / settings.phase
    trained = [one for one in model.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=settings.learning_rate, fused=True)
    prepared, stepper = accelerator.prepare(model, optimizer)
    begin, known = load_checkpoint(place, model, optimizer, settings.key)
    curve = Curve(curve_of(folder, settings.phase), known or uuid4().hex[:16], begin)
    _cut_log(place / TRAIN_LOG, begin)
    pace = _Pace()
    with (
        jsonl.RowWriter(place / TRAIN_LOG) as log,
        tracking(accelerator, runtime, curve, asdict(settings)),
    ):
        for step, batch in enumerate(islice(batches, begin, settings.steps), start=begin + 1):
            rate = _start_step(optimizer, settings, step)
            prepared.train()
            loss = step_loss(prepared, batch)
            terms = loss.to_terms()
            accelerator.backward(loss.total)
            norm = accelerator.clip_grad_norm_(trained, _CLIP_NORM)
            _check_finite(terms.total, float(norm), step)
            stepper.step()
            stepper.zero_grad()
            record = StepRecord(**terms.model_dump(), step=step, learning_rate=rate)
            log.append([record])
            accelerator.log(record.model_dump(exclude={"step"}), step)
            if step % runtime.checkpoint_steps == 0 and step < settings.steps and pace.allows():
                with pace:
                    save_checkpoint(place, step, model, optimizer, settings.key, curve.id)
            on_step(record)
    accelerator.unwrap_model(prepared, keep_fp32_wrapper=False)
    # Of mixed precision it leaves the model a method of its own, by which the model holds itself:
    # on a GPU its memory would stay taken after the last use.
    vars(model).pop("forward", None)
    return _last_terms(place / TRAIN_LOG)


def _accelerator(runtime: RuntimeConfig, folder: Path) -> Accelerator:
    device = device_of(runtime.device)
    half = training_dtype(runtime.dtype, device) == torch.bfloat16
    return Accelerator(
        cpu=device.type == "cpu",
        mixed_precision="bf16" if half else "no",
        **tracker_options(runtime, folder),
    )


def _start_step(optimizer: torch.optim.Optimizer, settings: LoopSettings, step: int) -> float:
    torch.manual_seed(settings.seed * _SEED_STRIDE + step)
    rate = settings.learning_rate * (1 - (step - 1) / settings.steps)
    for group in optimizer.param_groups:
        group["lr"] = rate
    return rate


def _check_finite(loss: float, gradient_norm: float, step: int) -> None:
    if math.isfinite(loss) and math.isfinite(gradient_norm):
        return
    raise ModelError(
        f"Training broke down at step {step}: loss {loss}, gradient norm {gradient_norm}.",
        "Lower the learning rate, or use --set runtime.dtype=float32.",
    )


def _cut_log(path: Path, step: int) -> None:
    rows = [row for row in jsonl.read_rows(path, StepRecord) if row.step <= step]
    jsonl.write_rows(path, rows)


def _last_terms(path: Path) -> LossTerms:
    *_, last = jsonl.read_rows(path, StepRecord)
    return LossTerms(**{name: getattr(last, name) for name in LossTerms.model_fields})
