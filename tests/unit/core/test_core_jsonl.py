import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codlocal.core import jsonl
from codlocal.core.errors import RunError
from codlocal.core.records import Example


def example(number, text="text"):
    return Example(id=f"train-{number}", text=text, label=0)


def texts_in(path):
    return [row.text for row in jsonl.read_rows(path, Example)]


@pytest.mark.usefixtures("synced")
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(st.characters(codec="utf-8"))))
def test_any_text_comes_back(tmp_path, texts):
    path = tmp_path / "rows.jsonl"
    assert jsonl.write_rows(path, map(example, range(len(texts)), texts)) == len(texts)
    assert texts_in(path) == texts


def test_a_missing_file_has_no_rows(tmp_path):
    assert texts_in(tmp_path / "none.jsonl") == []
    assert jsonl.last_row(tmp_path / "none.jsonl", Example) is None


@pytest.mark.usefixtures("synced")
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 400))
def test_a_file_cut_anywhere_loses_only_the_torn_row(tmp_path, cut):
    path = tmp_path / "rows.jsonl"
    jsonl.write_rows(path, [example(number, "é" * number) for number in range(6)])
    whole = path.read_bytes()[:cut]
    path.write_bytes(whole)
    kept = whole.count(b"\n")
    assert len(texts_in(path)) == kept
    last = jsonl.last_row(path, Example)
    assert (last and last.text) == ("é" * (kept - 1) if kept else None)
    with jsonl.RowWriter(path) as writer:
        writer.append([example(9, "new")])
    assert texts_in(path) == ["é" * number for number in range(kept)] + ["new"]


def test_a_torn_tail_longer_than_one_block_is_cut(tmp_path):
    path = tmp_path / "rows.jsonl"
    jsonl.write_rows(path, [example(0)])
    with path.open("ab") as handle:
        handle.write(b"x" * 200_000)
    jsonl.RowWriter(path).close()
    assert texts_in(path) == ["text"]
    path.write_bytes(b"y" * 200_000)
    jsonl.RowWriter(path).close()
    assert path.read_bytes() == b""


def test_appended_rows_follow_the_old_ones(tmp_path, monkeypatch):
    monkeypatch.setattr(jsonl, "_SYNC_SECONDS", 0.0)
    path = tmp_path / "deep" / "rows.jsonl"
    for number in range(2):
        with jsonl.RowWriter(path) as writer:
            writer.append([example(number), example(number + 10)])
            writer.append([])
            writer.close()
    ids = [row.id for row in jsonl.read_rows(path, Example)]
    assert ids == ["train-0", "train-10", "train-1", "train-11"]


@pytest.mark.parametrize("line", ["{", '{"id": "a"}', '{"id":"a","text":"t","label":0,"x":1}'])
def test_a_damaged_line_is_named(tmp_path, line):
    path = tmp_path / "rows.jsonl"
    path.write_text(example(0).model_dump_json() + "\n" + line + "\n")
    with pytest.raises(RunError, match="line 2, is not a valid Example row") as caught:
        texts_in(path)
    assert "--redo" in caught.value.hint


def test_a_failed_write_leaves_the_old_file_whole(tmp_path):
    path = tmp_path / "rows.jsonl"
    jsonl.write_rows(path, [example(0, "old")])

    def rows():
        yield example(1, "new")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        jsonl.write_rows(path, rows())
    assert texts_in(path) == ["old"]
    jsonl.write_rows(path, [example(2, "newer")])
    assert texts_in(path) == ["newer"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["rows.jsonl"]


def test_json_and_text_are_replaced_whole(tmp_path):
    path = tmp_path / "deep" / "a.json"
    jsonl.write_json(path, {"ü": [1, None]})
    assert json.loads(path.read_text("utf-8")) == {"ü": [1, None]}
    assert path.read_text("utf-8").endswith("}\n")
    with pytest.raises(TypeError):
        jsonl.write_json(path, {"bad": object()})
    jsonl.write_text(path, "später")
    assert path.read_text("utf-8") == "später"


def test_an_error_of_writing_names_its_file(tmp_path):
    writer = jsonl.RowWriter(tmp_path / "rows.jsonl")
    writer.close()
    full = Path("/dev/full").open("ab", buffering=0)  # noqa: SIM115
    writer._handle = full
    with full, pytest.raises(OSError, match="No space left") as caught:
        writer.append([example(1)])
    assert caught.value.filename == str(tmp_path / "rows.jsonl")
