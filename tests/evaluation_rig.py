"""An evaluation of made-up students, whose errors are known, in a run folder."""

import numpy as np

from codlocal.core import jsonl
from codlocal.core.artifacts import read_examples
from codlocal.core.config import resolve
from codlocal.core.console import Console
from codlocal.core.records import DatasetSpec, Example
from codlocal.core.run import RunFolder
from codlocal.evaluation.predictions import TestSplit
from codlocal.evaluation.stage import run_evaluate

N = 300
TEACHER = np.eye(2)[np.arange(N) % 2] * 0.8 + 0.1


class FakeStudent:
    """Agrees with the teacher on all but the first `wrong` texts."""

    def __init__(self, wrong, classes=2):
        self.wrong = wrong
        self.classes = classes

    def predict_proba(self, texts):
        rows = np.full((len(texts), self.classes), 0.3)
        for place, text in enumerate(texts):
            number = int(text.split()[1])
            rows[place, (number + (number < self.wrong)) % 2] = 0.7
        return rows


class Loader:
    """Counts what is loaded; a student's errors depend on its arm and seed."""

    def __init__(self):
        self.loaded = []

    def __call__(self, folder):
        self.loaded.append(folder.name)
        seed = int(folder.name[-1])
        return FakeStudent((10 if folder.name.startswith("student") else 40) + 5 * seed)


def prepare(path, *, seeds=2, baseline=True):
    settings = {"dataset": {"seeds": seeds, "k": 8}, "distillation": {"baseline": baseline}}
    config = resolve([settings])
    with RunFolder.open(path, config) as run, run.stage("data"):
        pass
    spec = DatasetSpec(
        name="made",
        source="file",
        location="made.csv",
        label_names=("no", "yes"),
        train_rows=8,
        test_rows=N,
        sha256="0" * 64,
    )
    jsonl.write_json(path / "data" / "spec.json", spec.model_dump(mode="json"))
    test = [Example(id=f"test-{n}", text=f"text {n}", label=n % 2) for n in range(N)]
    jsonl.write_rows(path / "data" / "test.jsonl", test)
    for arm in ("student", "baseline"):
        for seed in range(seeds):
            (path / "students" / f"{arm}-seed{seed}").mkdir(parents=True)
    return config


def evaluate(path, config, load=None, teacher=TEACHER, verbosity=-1):
    with RunFolder.open(path, config) as run:
        split = TestSplit(list(read_examples(run, "test").values()), teacher)
        return run_evaluate(run, load or Loader(), split, Console(verbosity))
