"""A run folder of eight toy reviews, with counterfactuals, as the verify stage would leave it."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from codlocal.core import jsonl
from codlocal.core.config import Config, resolve
from codlocal.core.console import Console
from codlocal.core.records import CounterfactualPair, DatasetSpec, Example, FewShotSplit
from codlocal.core.run import RunFolder

LABELS = ("negative", "positive")
QUIET = Console(-1)
SUBJECTS = ("the food was", "the place is", "the service was", "food and service is")
WORDS = (("bad", "awful"), ("good", "great"))
K = 8


def config_of(body: Path, **sections: dict[str, Any]) -> Config:
    settings: dict[str, Any] = {
        "dataset": {"k": K, "seeds": 2},
        "teacher": {
            "model": str(body),
            "epochs": 60,
            "batch_size": 8,
            "learning_rate": 3e-3,
            "max_length": 32,
        },
        "distillation": {
            "student": str(body),
            "student_init": "pretrained",
            "student_layers": 2,
            "steps": 60,
            "learning_rate": 3e-3,
            "max_length": 32,
        },
        "runtime": {"device": "cpu", "offline": True, "checkpoint_steps": 20},
    }
    return resolve([settings, sections])


def examples() -> list[Example]:
    texts = [
        (f"{subject} {word}", label)
        for subject in SUBJECTS
        for place in range(2)
        for label in (0, 1)
        for word in [WORDS[label][place]]
    ]
    return [Example(id=f"train-{i}", text=t, label=y) for i, (t, y) in enumerate(texts)]


def seen() -> list[Example]:
    """The originals of the student of seed 0: four, and a positive in place of a counterfactual."""
    rows = examples()
    return [*rows[:4], rows[5]]


def pair(example: Example) -> CounterfactualPair:
    *rest, _ = example.text.split()
    return CounterfactualPair(
        example_id=example.id,
        candidate_id=f"{example.id}/0",
        text=example.text,
        label=example.label,
        counterfactual=" ".join([*rest, WORDS[1 - example.label][0]]),
        counterfactual_label=1 - example.label,
        edit_distance=0.25,
        target_probability=0.9,
    )


def write_data(run: RunFolder, labels: Sequence[str] = LABELS) -> None:
    rows = examples()
    jsonl.write_rows(run.file("data", "train.jsonl"), rows)
    spec = DatasetSpec(
        name="toy",
        source="file",
        location="toy",
        label_names=tuple(labels),
        train_rows=len(rows),
        test_rows=0,
        sha256="0",
    )
    jsonl.write_json(run.file("data", "spec.json"), spec.model_dump(mode="json"))
    splits = [
        FewShotSplit(seed=seed, ids=tuple(one.id for one in rows[seed : seed + K]))
        for seed in (0, 1)
    ]
    jsonl.write_rows(run.file("data", "fewshot.jsonl"), splits)
    # The first original of seed 0 has no counterfactual.
    jsonl.write_rows(run.file("pairs.jsonl"), [pair(one) for one in rows[1:5]])


def copy_run(run: RunFolder, path: Path, config: Config | None = None) -> RunFolder:
    """A run with the same data and teacher, and no student yet."""
    shutil.copytree(run.path, path)
    copied = RunFolder(path, config or run.config)
    for name in ("students", "student", "teacher_outputs"):
        shutil.rmtree(copied.file(name))
    manifest = json.loads(copied.file("manifest.json").read_text())
    del manifest["stages"]["distill"]
    jsonl.write_json(copied.file("manifest.json"), manifest)
    return copied


def weights(run: RunFolder, name: str = "student-seed0") -> dict[str, torch.Tensor]:
    return load_file(run.file("students", name, "model.safetensors"))


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


CHILD = """
import sys
from pathlib import Path
from codlocal.core.config import read_toml, resolve
from codlocal.core.console import Console
from codlocal.core.run import RunFolder
from codlocal.distillation.stage import run_distill
from codlocal.models.teacher import load_teacher
run = RunFolder(Path(sys.argv[1]), resolve([read_toml(Path(sys.argv[2]))]))
run_distill(run, load_teacher(run), Console(-1))
"""


def changed_config(finished: RunFolder, body: Path, **changes: object) -> Config:
    """The configuration of the finished run with other settings of its distillation."""
    return config_of(body, distillation={**finished.config.distillation.model_dump(), **changes})


TED = {"method": "ted", "warm_start": "contrastive"}
EVERYTHING = {
    "method": "lwd",
    "student_init": "teacher",
    "warm_start": "head",
    "pair_weight": 1,
    "interpolation_weight": 10,
    "recombined": 4,
}
