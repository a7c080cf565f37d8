import json
from dataclasses import replace

import pytest

from codlocal.core import artifacts
from codlocal.core.config import resolve
from codlocal.core.console import Console
from codlocal.core.errors import DataError
from codlocal.core.run import RunFolder
from codlocal.data import stage
from codlocal.data.bundled import load_bundled
from codlocal.data.registry import REGISTRY
from codlocal.data.stage import run_data


def config_of(**dataset):
    return resolve([{"dataset": {"source": "bundled", "k": 8, "seeds": 2, **dataset}}])


def run_stage(path, config, verbosity=0):
    with RunFolder.open(path, config) as run:
        run_data(run, Console(verbosity))
        return run


@pytest.mark.parametrize(("name", "train"), [("yelp", 595), ("amazon", 581), ("imdb", 596)])
def test_bundled_sets_come_whole(name, train):
    loaded = load_bundled(REGISTRY[name])
    spec = loaded.spec
    assert (spec.train_rows, spec.test_rows, spec.dropped_rows) == (train, 300, 0)
    assert (spec.name, spec.source, spec.task) == (name, "bundled", "sentiment")
    assert spec.label_names == ("negative", "positive")
    assert "CC BY 4.0" in spec.attribution
    assert sum(example.label for example in loaded.test) == 150


def test_a_set_without_a_bundled_copy_is_refused(tmp_path):
    with pytest.raises(DataError, match="No copy of sst2") as caught:
        run_stage(tmp_path / "run", config_of(name="sst2"))
    assert "imdb, amazon, yelp" in caught.value.hint


def test_the_stage_writes_what_later_stages_read(tmp_path, capsys):
    run = run_stage(tmp_path / "run", config_of())
    spec = artifacts.read_spec(run)
    train = artifacts.read_examples(run, "train")
    assert len(train) == spec.train_rows == 595
    assert len(artifacts.read_examples(run, "test")) == 300
    splits = artifacts.read_few_shot(run)
    assert [split.seed for split in splits] == [0, 1]
    assert all(len(split.ids) == 8 and set(split.ids) <= train.keys() for split in splits)
    halves = [one for split in splits for one in split.ids[:4]]
    assert [example.id for example in artifacts.originals(run)] == list(dict.fromkeys(halves))
    said = capsys.readouterr().err
    assert "Reading the texts: train 595, test 300\n" in said
    assert "yelp: bundled UCI Sentiment" in said
    assert "CC BY 4.0; 595 train / 300 test texts\n" in said


def test_the_facts_name_source_counts_and_fingerprint(tmp_path):
    run = run_stage(tmp_path / "run", config_of())
    facts = run.facts("data")
    assert facts["source"] == "bundled"
    assert (facts["train_rows"], facts["test_rows"], facts["dropped"]) == (595, 300, {})
    assert len(facts["sha256"]) == 64
    assert "Kotzias" in facts["attribution"]
    assert run.is_done("data")


def test_a_done_stage_is_not_run_again(tmp_path, monkeypatch):
    config = config_of()
    run_stage(tmp_path / "run", config)
    monkeypatch.setattr(stage, "load", None)
    run_stage(tmp_path / "run", config)


def test_a_mistake_can_be_corrected_in_the_same_run_folder(tmp_path):
    with pytest.raises(DataError):
        run_stage(tmp_path / "run", config_of(path=str(tmp_path / "none.csv")))
    with pytest.raises(DataError, match="can't be drawn"):
        run_stage(tmp_path / "run", config_of(k=1000))
    assert run_stage(tmp_path / "run", config_of()).is_done("data")


def test_dropped_rows_and_a_small_k_are_said(tmp_path, capsys):
    path = tmp_path / "mine.jsonl"
    rows = [{"text": f"text {n}", "label": "abc"[n % 3]} for n in range(30)]
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"text": "", "label": "a"}]))
    run_stage(tmp_path / "run", config_of(path=str(path), k=2, seeds=1))
    said = capsys.readouterr().err
    assert f"mine: {path}; 21 train / 9 test texts, held out of the training texts" in said
    assert "mine: 1 row dropped: 1 without text" in said
    assert "k = 2 is less than the 3 classes" in said


def test_labels_that_may_be_one_and_the_same_are_said(tmp_path, capsys):
    path = tmp_path / "mine.jsonl"
    labels = ["Neg", "neg", "caf\u00e9", "cafe\u0301", "pos"]
    rows = [{"text": f"text {n}", "label": labels[n % 5]} for n in range(30)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run_stage(tmp_path / "run", config_of(path=str(path), seeds=1))
    said = capsys.readouterr().err
    assert "Warning: The labels 'Neg' and 'neg' are classes of their own." in said
    assert "'cafe\u0301' and 'caf\u00e9'" in said
    assert "pos" not in said.partition("Warning:")[2]


def test_cached_data_is_said_to_be_cached(tmp_path, capsys, monkeypatch):
    loaded = load_bundled(REGISTRY["imdb"])
    spec = loaded.spec.model_copy(update={"source": "cache", "location": "repo at abc"})

    monkeypatch.setattr(stage, "load", lambda config, offline: replace(loaded, spec=spec))
    run_stage(tmp_path / "run", config_of(name="imdb"))
    assert "imdb: cache, repo at abc, UCI" in capsys.readouterr().err


def test_a_split_that_is_not_used_is_said(tmp_path, capsys):
    for name in ("train", "test", "dev"):
        rows = [{"text": f"{name} {n}", "label": n % 2} for n in range(10)]
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        tmp_path.joinpath(f"{name}.jsonl").write_text(lines)
    run_stage(tmp_path / "run", config_of(path=str(tmp_path)))
    said = capsys.readouterr().err
    assert "10 train / 10 test texts\n" in said
    assert "not used: dev\n" in said
