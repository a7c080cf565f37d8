"""The teacher and the distillation stage on tiny models, through the files of a run folder."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny import tiny_model
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from codlocal.core import jsonl
from codlocal.core.config import Config, resolve
from codlocal.core.console import Console
from codlocal.core.errors import DataError, ModelError
from codlocal.core.records import CounterfactualPair, DatasetSpec, Example, FewShotSplit
from codlocal.core.run import RunFolder
from codlocal.distillation import student as student_module
from codlocal.distillation.finetune import run_teacher
from codlocal.distillation.stage import run_distill
from codlocal.models.teacher import load_teacher, read_teacher

pytestmark = pytest.mark.integration

LABELS = ("negative", "positive")
QUIET = Console(-1)
SUBJECTS = ("the food was", "the place is", "the service was", "food and service is")
WORDS = (("bad", "awful"), ("good", "great"))
K = 8


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CODLOCAL_HOME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def body(tmp_path_factory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("body"), layers=4)


def _config(body: Path, **sections: dict[str, Any]) -> Config:
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
            "student_layers": 2,
            "steps": 60,
            "learning_rate": 3e-3,
            "max_length": 32,
        },
        "runtime": {"device": "cpu", "offline": True, "checkpoint_steps": 20},
    }
    return resolve([settings, sections])


def _examples() -> list[Example]:
    texts = [
        (f"{subject} {word}", label)
        for subject in SUBJECTS
        for place in range(2)
        for label in (0, 1)
        for word in [WORDS[label][place]]
    ]
    return [Example(id=f"train-{i}", text=t, label=y) for i, (t, y) in enumerate(texts)]


def _pair(example: Example) -> CounterfactualPair:
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


def _write_data(run: RunFolder) -> None:
    examples = _examples()
    jsonl.write_rows(run.file("data", "train.jsonl"), examples)
    spec = DatasetSpec(
        name="toy",
        source="file",
        location="toy",
        label_names=LABELS,
        train_rows=len(examples),
        test_rows=0,
        sha256="0",
    )
    jsonl.write_json(run.file("data", "spec.json"), spec.model_dump(mode="json"))
    splits = [
        FewShotSplit(seed=seed, ids=tuple(one.id for one in examples[seed : seed + K]))
        for seed in (0, 1)
    ]
    jsonl.write_rows(run.file("data", "fewshot.jsonl"), splits)
    # The first original of seed 0 has no counterfactual.
    jsonl.write_rows(run.file("pairs.jsonl"), [_pair(one) for one in examples[1:5]])


@pytest.fixture(scope="module")
def finished(tmp_path_factory, body: Path) -> RunFolder:
    run = RunFolder(tmp_path_factory.mktemp("run"), _config(body))
    _write_data(run)
    run_teacher(run, QUIET)
    run_distill(run, load_teacher(run), QUIET)
    return run


def _copy(run: RunFolder, path: Path, config: Config | None = None) -> RunFolder:
    """A run with the same data and teacher, and no student yet."""
    shutil.copytree(run.path, path)
    copied = RunFolder(path, config or run.config)
    for name in ("students", "student", "teacher_outputs"):
        shutil.rmtree(copied.file(name))
    manifest = json.loads(copied.file("manifest.json").read_text())
    del manifest["stages"]["distill"]
    jsonl.write_json(copied.file("manifest.json"), manifest)
    return copied


def _weights(run: RunFolder, name: str = "student-seed0") -> dict[str, torch.Tensor]:
    return load_file(run.file("students", name, "model.safetensors"))


def _same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


def test_the_fine_tuned_teacher_has_learnt_the_labels(finished: RunFolder, home: Path):
    examples = _examples()
    probabilities = load_teacher(finished).predict_proba([one.text for one in examples])
    assert probabilities.argmax(axis=1).tolist() == [one.label for one in examples]
    record = read_teacher(finished)
    assert record.trained
    assert Path(record.path).parent == home / "teachers"
    assert finished.facts("teacher")["reused"] is False
    assert not list(Path(record.path).glob("checkpoint*"))


def test_a_second_run_takes_the_teacher_from_the_store(finished: RunFolder, tmp_path: Path):
    run = RunFolder(tmp_path / "second", finished.config)
    _write_data(run)
    run_teacher(run, QUIET)
    assert run.facts("teacher")["reused"] is True
    assert read_teacher(run) == read_teacher(finished)
    run.file("teacher.json").unlink()
    run_teacher(run, QUIET)
    assert not run.file("teacher.json").exists()


def test_every_student_is_there_and_made_of_k_texts(finished: RunFolder):
    students = finished.facts("distill")["students"]
    assert list(students) == ["student-seed0", "baseline-seed0", "student-seed1", "baseline-seed1"]
    first, second = students["student-seed0"], students["student-seed1"]
    assert (first["pairs"], first["singles"], first["fill"]) == (3, 1, 1)
    assert (second["pairs"], second["singles"], second["fill"]) == (4, 0, 0)
    assert {one["texts"] for one in students.values()} == {K}
    for name, facts in students.items():
        assert json.loads(finished.file("students", name, "codlocal.json").read_text()) == facts
        log = finished.file("students", name, "train_log.jsonl").read_text().splitlines()
        assert json.loads(log[-1])["total"] == facts["final_loss"]["total"]
        assert len(log) == 60


def test_the_student_loads_with_transformers_alone_and_agrees(finished: RunFolder):
    folder = finished.file("student")
    model = AutoModelForSequenceClassification.from_pretrained(folder, use_safetensors=True)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    originals = _examples()[:5]
    texts = [one.text for one in originals] + [_pair(one).counterfactual for one in originals[1:4]]
    with torch.inference_mode():
        logits = model(**tokenizer(texts, return_tensors="pt", padding=True)).logits
    teacher = load_teacher(finished).predict_proba(texts)
    assert logits.argmax(-1).tolist() == teacher.argmax(1).tolist()
    assert model.config.id2label == dict(enumerate(LABELS))
    assert model.config.num_hidden_layers == 2
    assert {path.suffix for path in folder.iterdir()} == {".json", ".jsonl", ".safetensors"}


def test_a_run_of_the_same_seed_gives_the_same_weights(finished: RunFolder, tmp_path: Path):
    run = _copy(finished, tmp_path / "again")
    run_distill(run, load_teacher(run), QUIET)
    assert _same(_weights(run), _weights(finished))
    assert _same(_weights(run, "baseline-seed1"), _weights(finished, "baseline-seed1"))


def test_finished_students_and_outputs_are_kept_when_a_run_goes_on(finished, tmp_path, monkeypatch):
    run = _copy(finished, tmp_path / "cut")
    trained = []
    train = student_module.distil

    def stop_at_the_third(student, job, *rest):
        trained.append(job.name)
        if len(trained) == 3:
            raise ModelError("stopped")
        return train(student, job, *rest)

    monkeypatch.setattr(student_module, "distil", stop_at_the_third)
    teacher = load_teacher(run)
    with pytest.raises(ModelError, match="stopped"):
        run_distill(run, teacher, QUIET)
    assert not run.is_done("distill")
    monkeypatch.setattr(teacher, "logits", lambda _: pytest.fail("asked twice"))
    run_distill(run, teacher, QUIET)
    run_distill(run, teacher, QUIET)
    assert trained[2] == trained[3] == "student-seed1"
    assert len(trained) == 5


_CHILD = """
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


def test_a_killed_process_goes_on_to_the_same_weights(finished: RunFolder, tmp_path: Path, body):
    distillation = {**finished.config.distillation.model_dump(), "steps": 400, "baseline": False}
    config = _config(body, distillation=distillation)
    whole = _copy(finished, tmp_path / "whole", config)
    run_distill(whole, load_teacher(whole), QUIET)
    cut = _copy(finished, tmp_path / "cut", config)
    settings = tmp_path / "settings.toml"
    settings.write_text(config.to_toml())
    child = subprocess.Popen([sys.executable, "-c", _CHILD, str(cut.path), str(settings)])
    log = cut.file("students", "student-seed0.partial", "train_log.jsonl")
    while child.poll() is None and (not log.exists() or log.read_bytes().count(b"\n") < 130):
        time.sleep(0.001)
    child.kill()
    assert child.wait() == -signal.SIGKILL
    assert not cut.file("students", "student-seed0").exists()
    assert list(log.parent.glob("checkpoint-*"))
    run_distill(cut, load_teacher(cut), QUIET)
    assert _same(_weights(cut), _weights(whole))
    logs = [run.file("student", "train_log.jsonl").read_bytes() for run in (cut, whole)]
    assert logs[0] == logs[1]


def test_a_seed_without_pairs_is_trained_with_a_warning(finished, tmp_path: Path, capsys):
    run = _copy(finished, tmp_path / "nopairs")
    run.file("pairs.jsonl").write_text("")
    run_distill(run, load_teacher(run), QUIET)
    assert "Seed 0 has no verified pair" in capsys.readouterr().err
    assert _same(_weights(run, "student-seed0"), _weights(run, "baseline-seed0"))


@pytest.mark.parametrize("kind", ["deberta", "llama"])
def test_a_ready_teacher_is_used_as_it_is_whatever_the_family(tmp_path: Path, body, kind: str):
    model = tiny_model(tmp_path / "teacher", kind, labels=("POSITIVE", "NEGATIVE"))
    run = RunFolder(tmp_path / "run", _config(body, teacher={"model": str(model)}))
    _write_data(run)
    run_teacher(run, QUIET)
    record = read_teacher(run)
    assert (record.trained, record.path, record.labels) == (False, str(model), LABELS)
    run_distill(run, load_teacher(run), QUIET)
    assert run.is_done("distill")


def test_a_ready_teacher_with_other_labels_is_refused(tmp_path: Path, body: Path):
    model = tiny_model(tmp_path / "teacher", labels=("a", "b", "c"))
    run = RunFolder(tmp_path / "run", _config(body, teacher={"model": str(model)}))
    _write_data(run)
    with pytest.raises(ModelError, match="3 labels, the data 2"):
        run_teacher(run, QUIET)
    assert not run.is_done("teacher")


def test_no_training_texts_are_a_data_error(tmp_path: Path, body: Path):
    run = RunFolder(tmp_path / "run", _config(body))
    _write_data(run)
    run.file("data", "train.jsonl").write_text("")
    with pytest.raises(DataError, match="empty"):
        run_teacher(run, QUIET)
