import json
import os

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from codlocal.core.errors import ConfigError, DataError
from codlocal.core.sections import DatasetConfig
from codlocal.data.loaders import load

CSV = "text,label\n" + "".join(f"text {n},{'np'[n % 2]}\n" for n in range(20))


def load_file(path, **settings):
    return load(DatasetConfig(path=str(path), **settings))


def named(count, offset=0):
    features = Features({"body": Value("string"), "kind": ClassLabel(names=["no", "yes"])})
    columns = {
        "body": [f"text {offset + number}" for number in range(count)],
        "kind": [number % 2 for number in range(count)],
    }
    return Dataset.from_dict(columns, features=features)


def test_one_file_is_split_and_says_where_it_came_from(tmp_path):
    path = tmp_path / "reviews.csv"
    path.write_text(CSV)
    loaded = load_file(path)
    spec = loaded.spec
    assert (spec.name, spec.source, spec.location) == ("reviews", "file", str(path))
    assert (spec.train_rows, spec.test_rows) == (14, 6)
    assert spec.label_names == ("n", "p")
    assert spec.task == "generic"


def test_the_test_split_of_one_file_is_the_same_for_every_seed(tmp_path):
    path = tmp_path / "reviews.csv"
    path.write_text(CSV)
    assert load_file(path, seed=0).test == load_file(path, seed=9).test


def test_columns_and_label_names_are_the_users(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = [{"body": f"text {n}", "stars": n % 2} for n in range(10)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    loaded = load_file(path, text_column="body", label_column="stars", label_names=("poor", "good"))
    assert loaded.spec.label_names == ("poor", "good")
    assert {example.text: example.label for example in loaded.train}["text 1"] == 1


def test_a_folder_may_mix_formats_and_its_validation_split_is_not_read(tmp_path):
    (tmp_path / "train.csv").write_text(CSV)
    (tmp_path / "test.jsonl").write_text('{"text": "tested", "label": "p"}\n')
    (tmp_path / "validation.csv").write_text("not,what\nis,needed\n")
    (tmp_path / "train.txt").write_text("ignored")
    loaded = load_file(tmp_path)
    assert (loaded.spec.train_rows, loaded.spec.test_rows) == (20, 1)
    assert loaded.spec.name == tmp_path.name
    assert (loaded.held_out, loaded.unread) == (False, ["validation"])


def test_a_folder_with_train_alone_is_split(tmp_path):
    (tmp_path / "train.csv").write_text(CSV)
    loaded = load_file(tmp_path)
    assert (loaded.spec.test_rows, loaded.held_out, loaded.unread) == (6, True, [])


def test_a_folder_without_train_or_with_two_is_refused(tmp_path):
    (tmp_path / "test.csv").write_text(CSV)
    with pytest.raises(DataError, match="has no train file") as caught:
        load_file(tmp_path)
    assert "save_to_disk" in caught.value.hint
    (tmp_path / "train.csv").write_text(CSV)
    (tmp_path / "train.tsv").write_text(CSV)
    with pytest.raises(DataError, match=r"more than one train file: train.csv, train.tsv"):
        load_file(tmp_path)


@pytest.mark.parametrize("with_test", [True, False])
def test_a_saved_dataset_dict_is_read_with_its_class_names(tmp_path, with_test):
    splits = {"train": named(20), "validation": named(4, 50)}
    if with_test:
        splits["test"] = named(6, 100)
    DatasetDict(splits).save_to_disk(tmp_path / "saved")
    loaded = load_file(tmp_path / "saved", text_column="body", label_column="kind")
    assert loaded.spec.label_names == ("no", "yes")
    assert (loaded.spec.train_rows, loaded.spec.test_rows) == ((20, 6) if with_test else (14, 6))
    assert (loaded.held_out, loaded.unread) == (not with_test, ["validation"])


def test_a_saved_single_dataset_is_split(tmp_path):
    named(20).save_to_disk(tmp_path / "saved")
    loaded = load_file(tmp_path / "saved", text_column="body", label_column="kind")
    assert loaded.spec.test_rows == 6


@pytest.mark.parametrize("name", ["torch", "numpy", "pandas", "arrow"])
@pytest.mark.parametrize("columns", [["text", "label"], ["label"]])
def test_a_saved_format_does_not_matter(tmp_path, name, columns):
    rows = {"text": [f"text {n}" for n in range(10)], "label": [n % 2 for n in range(10)]}
    Dataset.from_dict(rows).with_format(name, columns=columns).save_to_disk(tmp_path / "saved")
    loaded = load_file(tmp_path / "saved")
    assert loaded.spec.label_names == ("0", "1")
    assert {example.text: example.label for example in loaded.train + loaded.test} == dict(
        zip(rows["text"], rows["label"], strict=True)
    )


def test_a_saved_dataset_without_train_or_column_or_damaged_is_refused(tmp_path):
    DatasetDict({"other": named(4)}).save_to_disk(tmp_path / "other")
    with pytest.raises(DataError, match="no train split"):
        load_file(tmp_path / "other")
    named(4).save_to_disk(tmp_path / "saved")
    with pytest.raises(DataError, match="no column 'text'") as caught:
        load_file(tmp_path / "saved")
    assert "Columns: body, kind" in caught.value.hint
    (tmp_path / "saved" / "data-00000-of-00001.arrow").write_bytes(b"damaged")
    with pytest.raises(DataError, match="not a readable saved dataset"):
        load_file(tmp_path / "saved", text_column="body", label_column="kind")


def test_a_missing_path_gets_the_nearest_names(tmp_path):
    (tmp_path / "reviews.csv").write_text(CSV)
    with pytest.raises(DataError, match="no file or folder") as caught:
        load_file(tmp_path / "review.csv")
    assert caught.value.hint == "Did you mean reviews.csv?"
    with pytest.raises(DataError) as caught:
        load_file(tmp_path / "zzzzzzzz.csv")
    assert "no similar name" in caught.value.hint
    with pytest.raises(DataError) as caught:
        load_file(tmp_path / "nowhere" / "a.csv")
    assert "no folder" in caught.value.hint


def test_a_folder_without_permission_is_refused(tmp_path, monkeypatch):
    def denied(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(tmp_path), "iterdir", denied)
    with pytest.raises(DataError, match="can't be read: Permission denied"):
        load_file(tmp_path)


def test_the_home_folder_is_expanded_and_an_unknown_user_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.csv").write_text(CSV)
    assert load_file("~/mine.csv").spec.name == "mine"
    with pytest.raises(ConfigError, match="home folder"):
        load_file("~no-such-user-here/mine.csv")


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_read_but_once_or_without_end_is_refused(tmp_path, make):
    make(tmp_path / "a.csv")
    with pytest.raises(DataError, match="neither a file nor a folder"):
        load_file(tmp_path / "a.csv")
