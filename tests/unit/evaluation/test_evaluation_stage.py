import json

import numpy as np
import pytest
from evaluation_rig import TEACHER, FakeStudent, Loader, N, evaluate, prepare

from codlocal.core import jsonl
from codlocal.core.errors import ModelError, RunError
from codlocal.core.records import Metrics
from codlocal.core.run import RunFolder
from codlocal.core.statistics import wilson
from codlocal.evaluation.predictions import Prediction
from codlocal.models.folders import model_hash

FIELDS = set(Metrics.model_fields)


def test_the_metrics_of_two_seeds(tmp_path):
    found = evaluate(tmp_path, prepare(tmp_path))
    assert json.loads((tmp_path / "metrics.json").read_text()) == found
    for who in ("student", "baseline", "teacher"):
        assert set(found[who]) == FIELDS
    assert found["teacher"]["teacher_agreement"] == found["teacher"]["accuracy"] == 1.0
    assert found["student"]["accuracy"] == pytest.approx(1 - 12.5 / N)
    assert found["baseline"]["teacher_agreement"] == pytest.approx(1 - 42.5 / N)
    assert found["seeds"] == [0, 1]
    assert [row["seed"] for row in found["per_seed"]["student"]] == [0, 1]
    assert found["per_seed"]["baseline"][1]["accuracy"] == pytest.approx(1 - 45 / N)
    assert found["interval_kind"] == "student t over seeds"
    assert set(found["intervals"]["student"]) == FIELDS - {"n", "boundary_n"}
    difference = found["intervals"]["difference"]["teacher_agreement"]
    assert difference["mean"] == pytest.approx(30 / N)
    assert difference["interval"] == pytest.approx([30 / N, 30 / N])
    assert found["dataset"] == {
        "name": "made",
        "source": "file",
        "location": "made.csv",
        "label_names": ["no", "yes"],
        "train_rows": 8,
        "test_rows": N,
        "sha256": "0" * 64,
        "k": 8,
    }


def test_one_seed_has_wilson_intervals_where_they_apply(tmp_path):
    found = evaluate(tmp_path, prepare(tmp_path, seeds=1))
    bounds = found["intervals"]["student"]
    assert found["interval_kind"] == "wilson over test texts"
    assert bounds["accuracy"] == pytest.approx(list(wilson(290, N)))
    assert bounds["teacher_agreement"] == bounds["accuracy"]
    assert bounds["macro_f1"] is bounds["matthews"] is None
    assert found["intervals"]["difference"]["accuracy"]["interval"] is None


def test_without_a_baseline_nothing_is_said_of_one(tmp_path):
    load = Loader()
    found = evaluate(tmp_path, prepare(tmp_path, baseline=False), load)
    assert load.loaded == ["student-seed0", "student-seed1"]
    assert "baseline" not in found and "baseline" not in found["per_seed"]
    assert "difference" not in found["intervals"]


def test_predictions_are_kept_text_by_text(tmp_path):
    evaluate(tmp_path, prepare(tmp_path))
    rows = list(jsonl.read_rows(tmp_path / "predictions" / "student-seed0.jsonl", Prediction))
    assert len(rows) == N
    model = model_hash(tmp_path / "students" / "student-seed0")
    assert rows[0] == Prediction(
        id="test-0", gold=0, teacher=0, label=1, probabilities=(0.3, 0.7), model=model
    )
    assert rows[299].label == rows[299].gold == rows[299].teacher == 1


def test_whole_predictions_are_not_made_again(tmp_path):
    config, load = prepare(tmp_path), Loader()

    def breaks(folder):
        if folder.name == "baseline-seed0":
            raise ModelError("killed")
        return load(folder)

    with pytest.raises(ModelError):
        evaluate(tmp_path, config, breaks)
    assert not (tmp_path / "metrics.json").exists()
    again = Loader()
    found = evaluate(tmp_path, config, again)
    assert load.loaded == ["student-seed0", "student-seed1"]
    assert again.loaded == ["baseline-seed0", "baseline-seed1"]
    assert found["student"]["accuracy"] == pytest.approx(1 - 12.5 / N)


def test_predictions_beside_other_teacher_labels_are_made_again(tmp_path):
    config = prepare(tmp_path, seeds=1, baseline=False)
    evaluate(tmp_path, config)
    jsonl.write_json(tmp_path / "manifest.json", {"created": "", "stages": {}})
    load = Loader()
    found = evaluate(tmp_path, config, load, teacher=TEACHER[:, ::-1])
    assert load.loaded == ["student-seed0"]
    assert found["student"]["teacher_agreement"] == pytest.approx(10 / N)


def test_predictions_of_another_student_are_made_again(tmp_path):
    config = prepare(tmp_path)
    evaluate(tmp_path, config)
    jsonl.write_json(tmp_path / "manifest.json", {"created": "", "stages": {}})
    (tmp_path / "students" / "student-seed1" / "config.json").write_text("{}")
    load = Loader()
    evaluate(tmp_path, config, load)
    assert load.loaded == ["student-seed1"]


def without(figures, name):
    return {one: value for one, value in figures.items() if one != name}


def test_a_done_stage_only_reads_its_file(tmp_path):
    config = prepare(tmp_path)
    found = evaluate(tmp_path, config)
    load = Loader()
    assert evaluate(tmp_path, config, load) == found
    assert load.loaded == []
    path = tmp_path / "metrics.json"
    whole = json.loads(path.read_text())
    wrong = [
        *({**whole, part: None} for part in ("dataset", "student", "intervals", "interval_level")),
        {**whole, "seeds": []},
        {**whole, "teacher": {**whole["teacher"], "accuracy": "good"}},
        {**whole, "intervals": {**whole["intervals"], "difference": {}}},
        {**whole, "intervals": {**whole["intervals"], "baseline": None}},
        {**whole, "intervals": {**whole["intervals"], "difference": None}},
        {**whole, "baseline": None},
        {**whole, "student": {**whole["student"], "boundary_n": 3, "boundary_agreement": None}},
        {**whole, "teacher": {**whole["teacher"], "calibration_error": None}},
        {**whole, "student": without(whole["student"], "calibration_error")},
    ]
    for content in ("{", "[1, 2]", "{}", "[" * 100_000, *map(json.dumps, wrong)):
        path.write_text(content)
        with pytest.raises(RunError, match="missing or damaged") as caught:
            evaluate(tmp_path, config)
        assert "--redo evaluate" in caught.value.hint


def test_setting_aside_takes_predictions_and_metrics_along(tmp_path):
    config = prepare(tmp_path)
    evaluate(tmp_path, config)
    with RunFolder.open(tmp_path, config, redo="evaluate") as run:
        archive = run.archive
    assert (archive / "predictions" / "student-seed0.jsonl").exists()
    assert (archive / "metrics.json").exists()
    assert not (tmp_path / "predictions").exists()


def test_a_missing_student_is_named(tmp_path):
    config = prepare(tmp_path)
    (tmp_path / "students" / "baseline-seed1").rmdir()
    with pytest.raises(RunError, match="baseline-seed1 is missing") as caught:
        evaluate(tmp_path, config)
    assert "--redo distill" in caught.value.hint


def test_bad_student_probabilities_are_refused(tmp_path):
    config = prepare(tmp_path)
    with pytest.raises(ModelError, match="student-seed0 gives probabilities of shape"):
        evaluate(tmp_path, config, lambda folder: FakeStudent(0, classes=3))

    class Diverged:
        def predict_proba(self, texts):
            return np.full((len(texts), 2), np.nan)

    with pytest.raises(ModelError, match="not finite") as caught:
        evaluate(tmp_path, config, lambda folder: Diverged())
    assert "learning_rate" in caught.value.hint


def test_progress_counts_every_text(tmp_path, capsys):
    evaluate(tmp_path, prepare(tmp_path), verbosity=0)
    assert "evaluate: 1200/1200" in capsys.readouterr().err


def test_a_student_that_leaves_a_class_out_is_warned_of(tmp_path, capsys):
    class Yes(FakeStudent):
        def predict_proba(self, texts):
            return np.tile([0.1, 0.9], (len(texts), 1))

    config = prepare(tmp_path / "run")
    evaluate(
        tmp_path / "run",
        config,
        lambda folder: Yes(0) if "student" in folder.name else FakeStudent(5),
        verbosity=0,
    )
    said = " ".join(capsys.readouterr().err.split())
    assert "The student hardly ever gives a class that the teacher gives often: no (2 of 2" in said
    assert "The baseline" not in said
