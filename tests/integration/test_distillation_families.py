"""Every family of models as teacher and as student, by every method, with 2 and with 77 classes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import tiny_model
from toy_run import LABELS, QUIET, config_of, examples, write_data
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from codlocal.core.run import RunFolder
from codlocal.distillation import stage
from codlocal.distillation.finetune import run_teacher
from codlocal.distillation.knowledge import gather
from codlocal.distillation.stage import run_distill
from codlocal.models.classifier import Classifier
from codlocal.models.teacher import load_teacher

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("home")]

MANY = tuple(f"intent {number}" for number in range(77))
ENCODERS = ("bert", "deberta", "modernbert")
DECODERS = ("qwen2", "llama", "gemma3")
WAYS: dict[str, dict[str, Any]] = {
    "kd, other family, 77 classes": {"warm_start": "head", "recombined": 2},
    "lwd, other family, 77 classes": {"method": "lwd", "pair_weight": 1},
    "ted, other family, 2 classes": {"method": "ted", "interpolation_weight": 5, "recombined": 2},
    "ted, own family, 77 classes": {"method": "ted", "warm_start": "contrastive"},
    "lwd, teacher's layers, 2 classes": {
        "method": "lwd",
        "student_init": "teacher",
        "pair_weight": 1,
        "interpolation_weight": 5,
        "recombined": 2,
    },
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", [*ENCODERS, *DECODERS])
def test_a_student_of_any_family_is_trained_saved_and_read_alike(tmp_path: Path, kind, way):
    labels = MANY if "77" in way else LABELS
    other = DECODERS[0] if kind in ENCODERS else ENCODERS[0]
    teacher = tiny_model(
        tmp_path / "teacher", other if "other" in way else kind, labels=labels, layers=3, seed=1
    )
    student = tiny_model(tmp_path / "student", kind, layers=2)
    config = config_of(
        student,
        dataset={"k": 8, "seeds": 1},
        teacher={"model": str(teacher), "max_length": 32},
        distillation={
            "student": str(student),
            "student_layers": 2,
            "steps": 3,
            "max_length": 32,
            "baseline": False,
            **WAYS[way],
        },
    )
    run = RunFolder(tmp_path / "run", config)
    write_data(run, labels)
    run_teacher(run, QUIET)
    run_distill(run, load_teacher(run), QUIET)
    if config.distillation.method != "kd":
        expected = "mean per text" if "other" in way else "per token"
        assert run.facts("distill")["states"] == expected
    _check_folder(run.file("student"), labels)


@pytest.mark.parametrize(("kind", "teachers"), [("llama", (1, 2)), ("bert", (2, 3))])
def test_by_default_too_layers_are_compared_with_those_they_were_made_of(
    tmp_path: Path, monkeypatch, kind, teachers
):
    found = []

    def kept(*given):
        found.append(gather(*given))
        return found[-1]

    monkeypatch.setattr(stage, "gather", kept)
    body = tiny_model(tmp_path / "body", kind, layers=3)
    settings = {"student": str(body), "student_layers": 2, "steps": 1, "method": "lwd"}
    teacher = tiny_model(tmp_path / "teacher", kind, labels=LABELS, layers=3)
    config = config_of(
        body,
        dataset={"k": 4, "seeds": 1},
        teacher={"model": str(teacher)},
        distillation={**settings, "student_init": "auto", "baseline": False},
    )
    run = RunFolder(tmp_path / "run", config)
    write_data(run, LABELS)
    run_teacher(run, QUIET)
    run_distill(run, load_teacher(run), QUIET)
    assert found[0].layers == tuple(zip(teachers, (1, 2), strict=True))


def _check_folder(folder: Path, labels: tuple[str, ...]) -> None:
    found = Classifier.load(folder, device="cpu", max_length=32)
    assert found.label_names == labels
    texts = [one.text for one in examples()[::3]] + ["bad"]
    together = found.logits(texts)
    assert np.isfinite(together).all()
    np.testing.assert_allclose(together, found.logits(texts, batch_size=1), atol=1e-5)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    assert model.config.pad_token_id == AutoTokenizer.from_pretrained(folder).pad_token_id
    assert model.config.num_labels == len(labels)
