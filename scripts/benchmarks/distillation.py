"""`scripts/bench distillation`: speed and memory beside a loop that asks the teacher every step.

Both are the product's own loop and see the same texts, batches and student; the reference asks the
teacher in every step and trains the whole student, as a plain loop does. Every measurement is a
process of its own, so that its peak memory is its own.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import click
import torch

from benchmarks import options
from codlocal.cli import main as run
from codlocal.core import jsonl
from codlocal.core.artifacts import read_examples, read_few_shot, read_spec
from codlocal.core.config import Config, resolve
from codlocal.core.console import Console
from codlocal.core.run import RunFolder
from codlocal.data.stage import run_data
from codlocal.distillation.composition import TrainingSet, baseline_set
from codlocal.distillation.fitting import fit, logits_step
from codlocal.distillation.loop import LoopSettings
from codlocal.distillation.objectives import LossTensors, ObjectiveInputs, distillation_loss
from codlocal.models import locate
from codlocal.models.classifier import Classifier
from codlocal.models.devices import limit_threads
from codlocal.models.initialise import new_classifier
from codlocal.models.seen_tokens import only_seen_tokens

_QUIET = Console(-1)
_ROUNDS = 3
_BASE, _LAYERS = "minilm-l6", 3

Result = dict[str, float]


@click.command()
@options.texts
@options.out("distillation.json")
@click.option("-k", "--k", default=64, show_default=True, help="Labelled texts.")
@click.option("--steps", default=360, show_default=True, help="Training steps of a measurement.")
@click.option("--only", type=click.Choice(["models", "codlocal", "reference"]), hidden=True)
def main(data: Path, out: Path, k: int, steps: int, only: str | None) -> None:
    """Measure the distillation of a 3-layer student from MiniLM-L6 on this machine."""
    config = resolve(
        [
            {"dataset": {"path": str(data.absolute()), "name": data.stem, "k": k}},
            {"distillation": {"steps": steps}, "runtime": {"checkpoint_steps": steps}},
            {"teacher": {"max_length": 128}},
        ]
    )
    if only:
        click.echo(json.dumps(_MEASUREMENTS[only](config)))
        return
    found = [{name: _in_a_process(name) for name in _MEASUREMENTS} for _ in range(_ROUNDS)]
    speed = {name: [one[name]["steps_per_second"] for one in found] for name in _LOOPS}
    peaks = {name: median(one[name]["peak_mb"] for one in found) for name in _MEASUREMENTS}
    result = {
        "k": k,
        "steps_per_second": speed,
        "speed_ratio": median(speed["codlocal"]) / median(speed["reference"]),
        "peak_mb": peaks,
        "memory_ratio": peaks["codlocal"] / peaks["models"],
    }
    out.mkdir(parents=True, exist_ok=True)
    jsonl.write_json(out / "distillation.json", result)
    click.echo(json.dumps(result, indent=2))


def _in_a_process(name: str) -> Result:
    command = [sys.executable, "-m", "benchmarks.distillation", *sys.argv[1:], "--only", name]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    result: Result = json.loads(done.stdout.splitlines()[-1])
    return result


def _models(config: Config) -> Result:
    """Teacher and student with its gradients and moments, and no text but one word."""
    teacher, student, _ = _materials(config)
    optimizer = torch.optim.AdamW(student.model.parameters(), fused=True)
    inputs = student.encoder.collate(student.encoder.encode(["good"]), student.device)
    student.model(**inputs).logits.sum().backward()
    optimizer.step()
    teacher.logits(["good"])
    return {"peak_mb": _peak()}


def _codlocal(config: Config) -> Result:
    teacher, student, texts = _materials(config)
    begun = time.monotonic()
    words = [text.text for text in texts.texts]
    known = torch.from_numpy(teacher.logits(words))
    with only_seen_tokens(student, words):
        _train(student, texts, config, lambda batch: known[batch])
    return _measured(begun, config)


def _reference(config: Config) -> Result:
    teacher, student, texts = _materials(config)
    rows = teacher.encoder.encode([text.text for text in texts.texts])

    def ask(batch: list[int]) -> torch.Tensor:
        inputs = teacher.encoder.collate([rows[index] for index in batch], teacher.device)
        with torch.no_grad():
            logits: torch.Tensor = teacher.model(**inputs).logits
        return logits

    begun = time.monotonic()
    _train(student, texts, config, ask)
    return _measured(begun, config)


_LOOPS = ("codlocal", "reference")
_MEASUREMENTS: dict[str, Callable[[Config], Result]] = {
    "models": _models,
    "codlocal": _codlocal,
    "reference": _reference,
}


def _materials(config: Config) -> tuple[Classifier, Classifier, TrainingSet]:
    limit_threads(0)
    base = locate.resolve(_BASE, console=_QUIET, offline=False)
    with (
        tempfile.TemporaryDirectory() as folder,
        RunFolder.open(Path(folder), config) as run,
    ):
        run_data(run, _QUIET)
        labels = read_spec(run).label_names
        known = read_examples(run, "train")
        (split,) = read_few_shot(run)
    length = config.teacher.max_length
    teacher = new_classifier(base, labels, max_length=length)
    student = new_classifier(base, labels, layers=_LAYERS, max_length=length)
    return teacher, student, baseline_set([known[one] for one in split.ids])


def _train(
    student: Classifier,
    texts: TrainingSet,
    config: Config,
    teacher_logits: Callable[[list[int]], torch.Tensor],
) -> None:
    settings = config.distillation

    def loss(logits: torch.Tensor, batch: list[int]) -> LossTensors:
        goal = teacher_logits(batch).to(logits.device)
        return distillation_loss(ObjectiveInputs(logits, goal, goal.argmax(dim=-1)), settings)

    loop = LoopSettings(
        settings.total_steps, settings.batch_size, settings.learning_rate, 0, "bench"
    )
    step = logits_step(student, texts, loss)
    with (
        tempfile.TemporaryDirectory() as folder,
        _QUIET.progress("bench", loop.steps) as task,
    ):
        fit(student.model, step, texts, loop, config.runtime, Path(folder), task)


def _measured(begun: float, config: Config) -> Result:
    steps = config.distillation.total_steps
    return {"steps_per_second": steps / (time.monotonic() - begun), "peak_mb": _peak()}


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


if __name__ == "__main__":
    run(main)
