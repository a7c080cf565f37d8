import json

from runs import config, run_with_data

from codlocal.core.console import Console
from codlocal.core.records import Example
from codlocal.distillation.finetune import may_get, training_rows
from codlocal.models.folders import model_hash
from codlocal.models.teacher import TeacherRecord

EXAMPLES = [Example(id=f"train/{number}", text=f"text {number}", label=0) for number in range(50)]


def test_all_rows_are_taken_unless_there_are_more_than_wanted():
    assert training_rows(EXAMPLES, None, 0) == EXAMPLES
    assert training_rows(EXAMPLES, 50, 0) == EXAMPLES


def test_a_capped_draw_is_a_function_of_the_seed_and_keeps_the_order():
    drawn = training_rows(EXAMPLES, 20, 3)
    assert len(drawn) == 20
    assert [EXAMPLES.index(row) for row in drawn] == sorted(EXAMPLES.index(row) for row in drawn)
    assert drawn == training_rows(EXAMPLES, 20, 3)
    assert drawn != training_rows(EXAMPLES, 20, 4)


def model_at(folder, architecture):
    """The files by which a model is known; there is nothing in them to load."""
    folder.mkdir(parents=True)
    folder.joinpath("config.json").write_text(json.dumps({"architectures": [architecture]}))
    for name in ("model.safetensors", "tokenizer.json"):
        folder.joinpath(name).write_text("{}")
    return folder


def record(path, *, trained, sha256="0" * 64):
    return TeacherRecord(
        path=str(path), trained=trained, base="b", sha256=sha256, labels=("negative", "positive")
    )


def test_a_classifier_is_the_teacher_on_record_if_its_weights_are(tmp_path):
    head = model_at(tmp_path / "head", "BertForSequenceClassification")
    known = record("elsewhere", trained=True, sha256=model_hash(head))
    with run_with_data(tmp_path / "run", config(teacher={"model": str(head)})) as run:
        assert may_get(run, known, Console(-1))
        assert not may_get(run, known.model_copy(update={"sha256": "1" * 64}), Console(-1))
        assert not may_get(run, known.model_copy(update={"quantization": "nf4"}), Console(-1))


def test_a_teacher_that_would_be_fine_tuned_is_foreseen_by_its_key(tmp_path, monkeypatch):
    settings = {"model": str(model_at(tmp_path / "body", "BertModel"))}
    keys, kept = [], []

    def find(key):
        keys.append(key)
        return kept[0] if kept else None

    monkeypatch.setattr("codlocal.models.store.find", find)
    with run_with_data(tmp_path / "run", config(teacher=settings)) as run:
        assert may_get(run, record("a/folder", trained=False), Console(-1))
        assert not may_get(run, record("teachers/another", trained=True), Console(-1))
        assert may_get(run, record(f"theirs/{keys[0]}", trained=True), Console(-1))
    with run_with_data(tmp_path / "more", config(teacher={**settings, "epochs": 9})) as run:
        assert not may_get(run, record(f"theirs/{keys[0]}", trained=True), Console(-1))
        kept.append(model_at(tmp_path / "stored", "BertForSequenceClassification"))
        assert not may_get(run, record("a/folder", trained=False), Console(-1))
        same = record("a/folder", trained=False, sha256=model_hash(kept[0]))
        assert may_get(run, same, Console(-1))
