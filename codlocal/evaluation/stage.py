"""The evaluate stage: every student of the run predicts the whole test split and is scored."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from codlocal.core import artifacts, jsonl
from codlocal.core.console import Console, Task
from codlocal.core.errors import RunError
from codlocal.core.records import Teacher
from codlocal.core.run import RunFolder
from codlocal.evaluation.metrics import Probabilities, score
from codlocal.evaluation.neglect import left_out, warning
from codlocal.evaluation.predictions import TestSplit, predict, store, stored
from codlocal.evaluation.report import read_metrics
from codlocal.evaluation.summary import describe, summarise
from codlocal.models.folders import model_hash

Load = Callable[[Path], Teacher]
"""Opens a student's model folder."""


def run_evaluate(
    run: RunFolder,
    load: Load,
    split: TestSplit,
    console: Console,
) -> dict[str, Any]:
    """Score all students, write `predictions/` and `metrics.json`, and return the latter.

    A student whose own predictions are on disk, for the same texts and teacher labels, is scored
    from them and not loaded again.

    Args:
        run: a run whose data and distill stages are done.
        load: opens a model folder in `students/`.
        split: the test split, with what the teacher says of it.
        console: where progress is shown.

    Raises:
        RunError: an earlier stage left something out.
        ModelError: a student gives no valid probabilities.

    """
    if run.is_done("evaluate"):
        return read_metrics(run)
    config, spec = run.config, artifacts.read_spec(run)
    arms = ["student", "baseline"] if config.distillation.baseline else ["student"]
    seeds = config.dataset.all_seeds
    with run.stage("evaluate") as facts:
        with console.progress("evaluate", len(arms) * len(seeds) * len(split.examples)) as task:
            said = {
                arm: [_predictions(run, f"{arm}-seed{seed}", split, load, task) for seed in seeds]
                for arm in arms
            }
        for arm, found in said.items():
            lost = [left_out(probabilities, split.teacher) for probabilities in found]
            if message := warning(arm, lost, spec.label_names):
                console.warn(message)
        scores = {
            arm: [score(one, split.gold, split.teacher) for one in found]
            for arm, found in said.items()
        }
        teacher = score(split.teacher, split.gold, split.teacher)
        metrics = summarise(scores, teacher, seeds, describe(spec, config.dataset.k))
        jsonl.write_json(run.file("metrics.json"), metrics)
        facts.update({name: metrics[name] for name in ["teacher", *arms]})
    return metrics


def _predictions(
    run: RunFolder, name: str, split: TestSplit, load: Load, task: Task
) -> Probabilities:
    path, folder = run.file("predictions", f"{name}.jsonl"), run.file("students", name)
    if not folder.is_dir():
        raise RunError(
            f"{folder} is missing.", f"Run `codlocal distill --run {run.path} --redo distill`."
        )
    model = model_hash(folder)
    probabilities = stored(path, split, model)
    if probabilities is None:
        classes = split.teacher.shape[1]
        probabilities = predict(load(folder), split.examples, classes, name, task)
        store(path, split, probabilities, model)
    else:
        task.advance(len(probabilities))
    return probabilities
