"""Teachers and students in 4 bits, on tiny models, through the files of a run folder."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny import tiny_model
from toy_run import (
    EVERYTHING,
    LABELS,
    QUIET,
    changed_config,
    config_of,
    copy_run,
    examples,
    same,
    weights,
    write_data,
)
from transformers import pipeline

from codlocal.core import jsonl
from codlocal.core.artifacts import TEST
from codlocal.core.config import Config
from codlocal.core.console import Console
from codlocal.core.errors import ModelError
from codlocal.core.run import RunFolder
from codlocal.distillation import loop
from codlocal.distillation.finetune import run_teacher
from codlocal.distillation.stage import run_distill
from codlocal.models.classifier import Classifier
from codlocal.models.student import load_student
from codlocal.models.teacher import load_teacher, read_teacher

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("home")]
TEXTS = [one.text for one in examples()]
NF4 = {"quantization": "nf4", "baseline": False, "learning_rate": 3e-4}


def ready_to_distil(finished: RunFolder, path: Path, config: Config) -> RunFolder:
    run = copy_run(finished, path, config)
    jsonl.write_rows(run.file(*TEST), examples())
    return run


@pytest.mark.parametrize("changes", [{}, EVERYTHING], ids=["plain", "everything"])
def test_a_student_in_4_bits_agrees_with_the_teacher(finished, tmp_path, body, changes, capsys):
    config = changed_config(finished, body, **NF4, **changes)
    run = ready_to_distil(finished, tmp_path / "run", config)
    run_distill(run, load_teacher(run), Console())
    student = Classifier.load(run.file("student"), device="cpu", label_names=LABELS)
    labels = [one.logits(TEXTS[:5]).argmax(1).tolist() for one in (student, load_teacher(run))]
    assert labels[0] == labels[1]
    stored = weights(run)
    assert stored["bert.encoder.layer.1.output.dense.weight"].dtype == torch.uint8
    assert stored["classifier.weight"].dtype == torch.float32
    assert not any("lora" in name for name in stored)
    lost = run.facts("distill")["students"]["student-seed0"]["quantization"]
    assert lost["texts"] == len(TEXTS)
    assert lost["agreement"] >= 0.9
    assert 0 < lost["max_difference"] < 2
    assert lost["bytes"] == run.file("student", "model.safetensors").stat().st_size
    assert "student-seed0 in 4 bits" in capsys.readouterr().err


def test_training_in_4_bits_that_was_cut_off_ends_in_the_same_weights(
    finished, tmp_path, body, monkeypatch
):
    config = changed_config(finished, body, **NF4, method="lwd")
    whole, cut = (ready_to_distil(finished, tmp_path / name, config) for name in ("a", "b"))
    run_distill(whole, load_teacher(whole), QUIET)
    save = loop.save_checkpoint

    def save_and_stop(folder: Path, step: int, *rest):
        save(folder, step, *rest)
        if step == 40:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop, "save_checkpoint", save_and_stop)
        run_distill(cut, load_teacher(cut), QUIET)
    checkpoint = cut.file("students", "student-seed0.partial", "checkpoint-0000040")
    kept = load_file(checkpoint / "model.safetensors")
    trained = ("lora", "pooler", "classifier", "projections")
    assert all(any(part in name for part in trained) for name in kept)
    run_distill(cut, load_teacher(cut), QUIET)
    assert same(weights(cut), weights(whole))
    assert not list(cut.file("student").glob("unquantised*"))


@pytest.mark.parametrize("method", ["kd", "lwd"])
def test_a_decoder_in_4_bits_is_an_ordinary_model_folder(finished, tmp_path, method: str):
    # bitsandbytes' own path for some CPUs takes widths that are multiples of 64 only.
    base = tiny_model(tmp_path / "llama", "llama", width=64)
    config = changed_config(finished, base, **NF4, method=method, student=str(base))
    run = ready_to_distil(finished, tmp_path / "run", config)
    run_distill(run, load_teacher(run), QUIET)
    student = Classifier.load(run.file("student"), device="cpu", label_names=LABELS)
    classify = pipeline("text-classification", str(run.file("student")), device="cpu")
    labels = [one["label"] for one in classify(TEXTS)]
    assert labels == [LABELS[label] for label in student.logits(TEXTS).argmax(1)]


@pytest.mark.usefixtures("fresh_accelerator")
def test_an_encoder_is_trained_and_read_in_4_bits_in_bfloat16(finished, tmp_path):
    base = tiny_model(tmp_path / "deberta", "deberta")
    settings = {"student": str(base), "steps": 3, "student_layers": 2, "max_length": 32}
    config = config_of(base, distillation={**settings, **NF4}, runtime={"dtype": "bfloat16"})
    run = ready_to_distil(finished, tmp_path / "run", config)
    run_distill(run, load_teacher(run), QUIET)
    student = load_student(config, run.file("student"), LABELS)
    assert np.isfinite(student.logits(TEXTS)).all()


def test_a_teacher_in_4_bits_has_outputs_of_its_own(finished, tmp_path, body):
    settings = {**finished.config.teacher.model_dump(), "quantization": "nf4"}
    distillation = finished.config.distillation.model_dump()
    run = RunFolder(tmp_path / "run", config_of(body, teacher=settings, distillation=distillation))
    write_data(run)
    run_teacher(run, QUIET)
    assert run.facts("teacher")["reused"] is True
    full, record = read_teacher(finished), read_teacher(run)
    assert record.sha256 == full.sha256 == full.identity
    assert record.identity != full.identity
    teacher = load_teacher(run)
    difference = np.abs(teacher.logits(TEXTS) - load_teacher(finished).logits(TEXTS)).max()
    assert 0 < difference < 1
    assert teacher.model.classifier.weight.dtype == torch.float32
    assert teacher.model.bert.encoder.layer[0].output.dense.weight.dtype == torch.uint8
    run_distill(run, teacher, QUIET)
    facts = run.facts("distill")["students"]["student-seed0"]
    assert facts["teacher_sha256"] == record.identity


def test_weights_in_4_bits_are_no_start_for_training(finished, tmp_path, body):
    config = changed_config(finished, body, **NF4, steps=2)
    run = ready_to_distil(finished, tmp_path / "run", config)
    run_distill(run, load_teacher(run), QUIET)
    for init in ("pretrained", "teacher"):
        config = config_of(run.file("student"), distillation={"student_init": init})
        other = RunFolder(tmp_path / init, config)
        write_data(other)
        with pytest.raises(ModelError, match="is quantised"):
            run_teacher(other, QUIET)
