"""The teacher and the distillation stage on tiny models, through the files of a run folder."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny import tiny_model
from toy_run import (
    LABELS,
    QUIET,
    K,
    config_of,
    copy_run,
    examples,
    pair,
    same,
    seen,
    weights,
    write_data,
)
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from codlocal.core.console import Console
from codlocal.core.errors import DataError, ModelError
from codlocal.core.run import RunFolder
from codlocal.distillation import student as student_module
from codlocal.distillation.finetune import run_teacher
from codlocal.distillation.stage import run_distill
from codlocal.models.teacher import load_teacher, read_teacher

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("home")]


def test_the_fine_tuned_teacher_has_learnt_the_labels(finished: RunFolder, home: Path):
    texts = examples()
    probabilities = load_teacher(finished).predict_proba([one.text for one in texts])
    assert probabilities.argmax(axis=1).tolist() == [one.label for one in texts]
    record = read_teacher(finished)
    assert record.trained
    assert Path(record.path).parent == home / "teachers"
    assert finished.facts("teacher")["reused"] is False
    assert not list(Path(record.path).glob("checkpoint*"))


def test_a_second_run_takes_the_teacher_from_the_store(finished: RunFolder, tmp_path: Path):
    run = RunFolder(tmp_path / "second", finished.config)
    write_data(run)
    run_teacher(run, QUIET)
    assert run.facts("teacher")["reused"] is True
    assert read_teacher(run) == read_teacher(finished)
    run.file("teacher.json").unlink()
    run_teacher(run, QUIET)
    assert not run.file("teacher.json").exists()


def _numbered(finished: RunFolder, folder: Path, *, turned: bool) -> RunFolder:
    """A run whose teacher's labels have no names, its classes as the data has them or turned."""
    taught = Path(read_teacher(finished).path)
    model = AutoModelForSequenceClassification.from_pretrained(taught)
    model.config.id2label, model.config.label2id = {0: "LABEL_0", 1: "LABEL_1"}, {}
    if turned:
        for parameter in model.classifier.parameters():
            parameter.data = parameter.data.flip(0)
    model.save_pretrained(folder / "numbered")
    AutoTokenizer.from_pretrained(taught).save_pretrained(folder / "numbered")
    config = config_of(taught, teacher={"model": str(folder / "numbered"), "max_length": 32})
    run = RunFolder(folder / "run", config)
    write_data(run)
    return run


def test_a_teachers_numbered_labels_are_told_what_they_are_taken_for(
    finished: RunFolder, tmp_path: Path, capsys
):
    run_teacher(_numbered(finished, tmp_path, turned=False), Console(0))
    said = " ".join(capsys.readouterr().err.split())
    assert "in their order, LABEL_0 for negative, LABEL_1 for positive: right for 100%" in said


def test_a_teacher_whose_numbered_labels_mean_the_others_is_refused(
    finished: RunFolder, tmp_path: Path
):
    run = _numbered(finished, tmp_path, turned=True)
    with pytest.raises(ModelError, match=r"right for 0% of 16 .* in another for 100%") as caught:
        run_teacher(run, QUIET)
    assert "LABEL_0 for positive, LABEL_1 for negative" in caught.value.message
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


def test_the_student_of_the_first_seed_is_the_runs(finished: RunFolder):
    def weights(*place: str) -> bytes:
        return finished.file(*place, "model.safetensors").read_bytes()

    assert weights("student") == weights("students", "student-seed0")
    assert weights("student") != weights("students", "baseline-seed0")


def test_the_student_loads_with_transformers_alone_and_agrees(finished: RunFolder):
    folder = finished.file("student")
    model = AutoModelForSequenceClassification.from_pretrained(folder, use_safetensors=True)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    originals = seen()
    texts = [one.text for one in originals] + [pair(one).counterfactual for one in originals[1:4]]
    with torch.inference_mode():
        logits = model(**tokenizer(texts, return_tensors="pt", padding=True)).logits
    teacher = load_teacher(finished).predict_proba(texts)
    assert logits.argmax(-1).tolist() == teacher.argmax(1).tolist()
    assert model.config.id2label == dict(enumerate(LABELS))
    assert model.config.num_hidden_layers == 2
    assert {path.suffix for path in folder.iterdir()} == {".json", ".jsonl", ".safetensors"}


def test_embeddings_of_tokens_in_no_text_stay_as_they_were(finished: RunFolder, body: Path):
    tokenizer = AutoTokenizer.from_pretrained(body)
    unseen, known = (
        tokenizer.convert_tokens_to_ids(words) for words in (["x", "9"], ["food", "bad"])
    )
    before = load_file(body / "model.safetensors")["embeddings.word_embeddings.weight"]
    for folder in (finished.file("student"), Path(read_teacher(finished).path)):
        after = load_file(folder / "model.safetensors")["bert.embeddings.word_embeddings.weight"]
        assert torch.equal(after[unseen], before[unseen])
        assert not torch.isclose(after[known], before[known]).all(dim=1).any()


def test_a_run_of_the_same_seed_gives_the_same_weights(finished: RunFolder, tmp_path: Path):
    run = copy_run(finished, tmp_path / "again")
    run_distill(run, load_teacher(run), QUIET)
    assert same(weights(run), weights(finished))
    assert same(weights(run, "baseline-seed1"), weights(finished, "baseline-seed1"))


def test_finished_students_and_outputs_are_kept_when_a_run_goes_on(finished, tmp_path, monkeypatch):
    run = copy_run(finished, tmp_path / "cut")
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


def test_a_seed_without_pairs_is_trained_with_a_warning(finished, tmp_path: Path, capsys):
    run = copy_run(finished, tmp_path / "nopairs")
    run.file("pairs.jsonl").write_text("")
    run_distill(run, load_teacher(run), QUIET)
    assert "Seed 0 has no verified pair" in capsys.readouterr().err
    assert same(weights(run, "student-seed0"), weights(run, "baseline-seed0"))


@pytest.mark.parametrize("kind", ["deberta", "llama"])
def test_a_ready_teacher_is_used_as_it_is_whatever_the_family(tmp_path: Path, body, kind: str):
    model = tiny_model(tmp_path / "teacher", kind, labels=("POSITIVE", "NEGATIVE"))
    config = config_of(body, teacher={"model": str(model)})
    settings = config.distillation.model_copy(
        update={"method": "lwd", "interpolation_weight": 5.0, "warm_start": "head", "steps": 10}
    )
    run = RunFolder(tmp_path / "run", config.model_copy(update={"distillation": settings}))
    write_data(run)
    run_teacher(run, QUIET)
    record = read_teacher(run)
    assert (record.trained, record.path, record.labels) == (False, str(model), LABELS)
    run_distill(run, load_teacher(run), QUIET)
    assert run.is_done("distill")
    same_tokens = kind == "deberta"
    assert run.facts("distill")["states"] == ("per token" if same_tokens else "mean per text")


def test_a_ready_teacher_with_other_labels_is_refused(tmp_path: Path, body: Path):
    model = tiny_model(tmp_path / "teacher", labels=("a", "b", "c"))
    run = RunFolder(tmp_path / "run", config_of(body, teacher={"model": str(model)}))
    write_data(run)
    with pytest.raises(ModelError, match="3 labels, the data 2"):
        run_teacher(run, QUIET)
    assert not run.is_done("teacher")


@pytest.mark.parametrize(
    ("settings", "reason"),
    [({"student": "no/such/folder"}, "no model folder"), ({"student_layers": 9}, "4 layers")],
)
def test_a_student_that_can_not_be_made_is_refused_before_anything_is_written(
    tmp_path: Path, body: Path, settings, reason: str
):
    run = RunFolder(tmp_path / "run", config_of(body, distillation=settings))
    write_data(run)
    with pytest.raises(ModelError, match=reason):
        run_teacher(run, QUIET)
    assert not run.file("teacher.json").exists()


def test_no_training_texts_are_a_data_error(tmp_path: Path, body: Path):
    run = RunFolder(tmp_path / "run", config_of(body))
    write_data(run)
    run.file("data", "train.jsonl").write_text("")
    with pytest.raises(DataError, match="empty"):
        run_teacher(run, QUIET)
