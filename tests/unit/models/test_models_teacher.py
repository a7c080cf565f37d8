import shutil
from pathlib import Path

import pytest
from tiny import tiny_model

from codlocal.core import jsonl
from codlocal.core.config import resolve
from codlocal.core.console import Console
from codlocal.core.errors import ModelError, RunError
from codlocal.core.run import RunFolder
from codlocal.models import store
from codlocal.models.folders import model_hash
from codlocal.models.teacher import TEACHER_FILE, TeacherRecord, load_teacher, read_teacher

LABELS = ("negative", "positive")
ROWS = [("good", 1), ("bad", 0)]


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    model = tiny_model(tmp_path / "model", labels=LABELS)
    settings = {"runtime": {"device": "cpu"}, "teacher": {"max_length": 7}}
    run = RunFolder(tmp_path / "run", resolve([settings]))
    record = TeacherRecord(
        path=str(model), trained=False, base="x", sha256=model_hash(model), labels=LABELS[::-1]
    )
    jsonl.write_json(run.file(TEACHER_FILE), record.model_dump(mode="json"))
    return run


def test_the_teacher_is_loaded_with_the_runs_labels_and_length(run: RunFolder):
    teacher = load_teacher(run)
    assert teacher.label_names == LABELS[::-1]
    assert teacher.encoder.max_length == 7


@pytest.mark.parametrize(
    ("kind", "quantization", "expected"),
    [("bert", "none", "float32"), ("llama", "none", "bfloat16"), ("bert", "nf4", "bfloat16")],
)
def test_an_encoder_decides_in_full_precision(tmp_path: Path, kind, quantization, expected):
    model = tiny_model(tmp_path / "model", kind, labels=LABELS)
    run = RunFolder(tmp_path, resolve([{"runtime": {"device": "cpu", "dtype": "bfloat16"}}]))
    record = TeacherRecord(
        path=str(model), trained=False, base="x", sha256=model_hash(model), labels=LABELS,
        quantization=quantization,
    )  # fmt: skip
    jsonl.write_json(run.file(TEACHER_FILE), record.model_dump(mode="json"))
    norm = next(
        one for name, one in load_teacher(run).model.named_parameters() if "norm" in name.lower()
    )
    assert str(norm.dtype) == f"torch.{expected}"


def test_a_run_without_a_teacher_says_so(tmp_path: Path):
    with pytest.raises(RunError, match="no teacher yet"):
        load_teacher(RunFolder(tmp_path, resolve([])))


def test_a_damaged_record_is_a_run_error(run: RunFolder):
    run.file(TEACHER_FILE).write_text("{}")
    with pytest.raises(RunError, match="damaged"):
        load_teacher(run)


def test_a_lost_record_is_no_teacher_that_is_still_to_come(run: RunFolder):
    run.file(TEACHER_FILE).unlink()
    with pytest.raises(RunError, match="has no teacher yet"):
        read_teacher(run)
    with run.stage("teacher"):
        pass
    with pytest.raises(RunError, match="is missing") as caught:
        read_teacher(run)
    assert "--redo teacher" in caught.value.hint


def test_a_teacher_that_was_changed_since_is_refused(run: RunFolder, tmp_path: Path):
    tiny_model(tmp_path / "model", labels=LABELS, seed=1)
    with pytest.raises(ModelError, match="was changed since the run began"):
        load_teacher(run)


def test_a_teacher_that_was_trained_here_moves_with_its_store(
    run: RunFolder, tmp_path, monkeypatch
):
    monkeypatch.setenv("CODLOCAL_HOME", str(tmp_path / "new"))
    record = read_teacher(run)
    trained = record.model_copy(
        update={"path": str(tmp_path / "old/teachers/key"), "trained": True}
    )
    jsonl.write_json(run.file(TEACHER_FILE), trained.model_dump(mode="json"))
    with pytest.raises(ModelError, match="old/teachers/key is gone"):
        load_teacher(run)
    shutil.copytree(record.path, tmp_path / "new/teachers/key")
    assert load_teacher(run).label_names == LABELS[::-1]
    assert read_teacher(run).folder == tmp_path / "new/teachers/key"


def test_the_stores_key_covers_all_that_the_weights_depend_on(tmp_path: Path):
    base = tiny_model(tmp_path / "a")
    other = tiny_model(tmp_path / "b", seed=1)
    settings = resolve([]).teacher
    keys = [
        store.teacher_key(base, ROWS, LABELS, settings),
        store.teacher_key(other, ROWS, LABELS, settings),
        store.teacher_key(base, ROWS[::-1], LABELS, settings),
        store.teacher_key(base, ROWS, LABELS[::-1], settings),
        store.teacher_key(base, ROWS, LABELS, settings.model_copy(update={"epochs": 9})),
    ]
    assert len(set(keys)) == len(keys)
    renamed = settings.model_copy(update={"model": "another name of the same folder"})
    assert store.teacher_key(base, ROWS, LABELS, renamed) == keys[0]
    quantised = settings.model_copy(update={"quantization": "nf4"})
    assert store.teacher_key(base, ROWS, LABELS, quantised) == keys[0]


def test_a_stored_teacher_is_built_once(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("CODLOCAL_HOME", str(tmp_path))
    assert store.find("k") is None
    built = []

    def build(folder: Path) -> None:
        built.append(folder)
        folder.joinpath("config.json").touch()

    assert (
        store.publish("k", build, Console(-1))
        == store.publish("k", build, Console(-1))
        == store.find("k")
    )
    assert len(built) == 1


def test_in_4_bits_it_is_another_teacher(run: RunFolder):
    record = read_teacher(run)
    assert record.identity == record.sha256
    quantised = record.model_copy(update={"quantization": "nf4"})
    assert quantised.sha256 == record.sha256 != quantised.identity
