import csv
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, Value
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codlocal.core.errors import DataError
from codlocal.data.formats import read_file

COLUMNS = ("text", "label")
ODD = [
    'He said "no", twice',
    "two\nlines",
    "carriage\r\nreturn",
    "emoji 🙂 and ünïcode",
    "NA",
    "null",
    "007",
    "1e5",
    "True",
    "  spaces kept  ",
    "tab\there",
    "line\u2028separator",
    "next\x85line",
    "form\x0cfeed",
]
LABELS = ["01", "NA"] * (len(ODD) // 2)


def write_csv(path, rows, separator=","):
    with path.open("w", encoding="utf-8", newline="") as handle:
        csv.writer(handle, delimiter=separator).writerows(rows)
    return path


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def write(path):
    rows = list(zip(ODD, LABELS, strict=True))
    objects = [{"text": text, "label": label} for text, label in rows]
    match path.suffix:
        case ".csv":
            write_csv(path, [COLUMNS, *rows])
        case ".tsv":
            write_csv(path, [COLUMNS, *rows], "\t")
        case ".json":
            path.write_text(json.dumps(objects, ensure_ascii=False), "utf-8")
        case ".parquet":
            pq.write_table(pa.table({"text": ODD, "label": LABELS}), path)
        case _:
            path.write_text(
                "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in objects), "utf-8"
            )


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "ndjson", "json", "parquet"])
def test_odd_texts_come_out_as_they_went_in(tmp_path, ending):
    path = tmp_path / f"rows.{ending}"
    write(path)
    split = read_file(path, COLUMNS)
    assert split.texts == ODD
    assert split.labels == LABELS
    assert split.rows == list(range(len(ODD)))


@pytest.mark.parametrize(("ending", "other"), [("csv", ";"), ("csv", "\t"), ("tsv", ",")])
def test_another_separator_is_named(tmp_path, ending, other):
    path = write_csv(tmp_path / f"rows.{ending}", [["id", *COLUMNS], ["1", "so", "a"]], other)
    with pytest.raises(DataError, match="has its fields separated by") as caught:
        read_file(path, COLUMNS)
    assert repr(other) in caught.value.message
    assert "commas as .csv" in caught.value.hint


@settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60
)
@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=1), st.booleans())
def test_any_text_survives_csv_and_jsonl(tmp_path, texts, as_csv):
    path = tmp_path / ("any.csv" if as_csv else "any.jsonl")
    if as_csv:
        content = io.StringIO()
        writer = csv.writer(content, quoting=csv.QUOTE_ALL)
        writer.writerows([COLUMNS, *((text, "x") for text in texts)])
        path.write_bytes(content.getvalue().encode())
    else:
        write_jsonl(path, [{"text": text, "label": "x"} for text in texts])
    assert read_file(path, COLUMNS).texts == texts


@pytest.mark.parametrize("name", ["bom.csv", "bom.jsonl", "bom.JSON"])
def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path, name):
    path = tmp_path / name
    content = "text,label\nhi,a\n" if name.endswith("csv") else '{"text": "hi", "label": "a"}\n'
    path.write_text(content, "utf-8-sig")
    assert read_file(path, COLUMNS).texts == ["hi"]


def test_blank_lines_are_no_rows_and_other_columns_are_ignored(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("\nid,label,text\n\n7,a,hi\n\n", "utf-8")
    split = read_file(path, COLUMNS)
    assert (split.texts, split.labels) == (["hi"], ["a"])


def test_a_text_may_be_as_long_as_a_book(tmp_path):
    text = "long " * 100_000
    path = write_csv(tmp_path / "a.csv", [["text", "label"], [text, "a"]])
    assert read_file(path, COLUMNS).texts == [text]


def test_labels_of_every_simple_kind_become_words(tmp_path):
    labels = [1, True, False, 2.0, 2.5, " b ", "", None, float("nan")]
    path = write_jsonl(tmp_path / "l.jsonl", [{"text": "t", "label": label} for label in labels])
    found = read_file(path, COLUMNS).labels
    assert found == ["1", "true", "false", "2", "2.5", "b", None, None, None]


def test_a_missing_key_is_a_missing_value(tmp_path):
    path = write_jsonl(tmp_path / "m.jsonl", [{"text": "a"}, {"label": 1}, {"text": None}])
    split = read_file(path, COLUMNS)
    assert (split.texts, split.labels) == (["a", None, None], [None, "1", None])


def test_parquet_class_names_are_used(tmp_path):
    features = Features({"text": Value("string"), "label": ClassLabel(names=["no", "yes"])})
    data = Dataset.from_dict({"text": ["a", "b", "c"], "label": [1, 0, -1]}, features=features)
    pq.write_table(data.data.table, tmp_path / "c.parquet")
    split = read_file(tmp_path / "c.parquet", COLUMNS)
    assert split.labels == ["yes", "no", None]
    assert split.label_names == ("no", "yes")


@pytest.mark.parametrize(
    "features", [{"other": {"_type": "Pdf3D"}}, {"label": {"_type": "ClassLabel"}}, 3]
)
def test_class_names_that_can_not_be_read_are_none(tmp_path, features):
    table = pa.table({"text": ["a", "b"], "label": [1, 0], "other": [1, 2]})
    about = json.dumps({"info": {"features": features}})
    pq.write_table(table.replace_schema_metadata({"huggingface": about}), tmp_path / "c.parquet")
    split = read_file(tmp_path / "c.parquet", COLUMNS)
    assert (split.labels, split.label_names) == (["1", "0"], None)


def test_a_class_name_that_is_no_text_is_refused(tmp_path):
    names = {"_type": "ClassLabel", "names": ["no", "\ud800"]}
    features = {"text": {"_type": "Value", "dtype": "string"}, "label": names}
    table = pa.table({"text": ["a"], "label": [1]})
    about = json.dumps({"info": {"features": features}})
    pq.write_table(table.replace_schema_metadata({"huggingface": about}), tmp_path / "c.parquet")
    with pytest.raises(DataError, match="a class name has half"):
        read_file(tmp_path / "c.parquet", COLUMNS)


def test_a_class_index_beyond_the_names_is_refused(tmp_path):
    features = Features({"text": Value("string"), "label": ClassLabel(names=["no", "yes"])})
    table = pa.table({"text": ["a"], "label": pa.array([5], pa.int64())})
    table = table.replace_schema_metadata(features.arrow_schema.metadata)
    pq.write_table(table, tmp_path / "c.parquet")
    with pytest.raises(DataError, match="has the label 5, but only 2 class names"):
        read_file(tmp_path / "c.parquet", COLUMNS)


@pytest.mark.parametrize(
    ("name", "content", "message", "hint"),
    [
        ("a.csv", b"", "has no rows", "one labelled text"),
        ("a.csv", b"text,label\n", "has no rows", "one labelled text"),
        ("a.jsonl", b"\n\n", "has no rows", "one labelled text"),
        ("a.csv", b"txt,label\na,b\n", "no column 'text'", "Columns: txt, label. Did you mean"),
        ("a.csv", b"text,class\na,b\n", "no column 'label'", "--label-column NAME"),
        ("a.csv", b"text,label,text\na,b,c\n", "more than one column 'text'", "Rename"),
        ("a.jsonl", b'{"body": 1}\n', "no column 'text'", "Columns: body. Name"),
        ("a.csv", b"text,label\na,b,c\n", "line 2: 3 fields, but the header has 2", "quotes"),
        ("a.csv", b'text,label\nx,y\n"a,b\n', "line 3: unexpected end", "double quotes"),
        ("a.csv", b"text,label\ncaf\xe9,b\n", "line 2, is not valid UTF-8", "UTF-8"),
        ("a.csv", b"\x1f\x8b\x08\x00", "a.csv is packed by gzip", "Unpack it"),
        ("a.jsonl", b"PK\x03\x04\x14", "a.jsonl is packed by zip", "Unpack it"),
        ("a.jsonl", b'{"text": "a"\n', "line 1 is not valid JSON", ""),
        ("a.json", b'[{"text": "a"}', "a.json is not valid JSON", ""),
        ("a.json", b'{\n"rows": [\n{"text": "a"}]}', "no column 'text'", "Columns: rows."),
        ("a.jsonl", b"[1]\n", "row 1, is not a JSON object", "Each row"),
        (
            "a.jsonl",
            b'{"text": 5, "label": 1}\n',
            "row 1: the text is of type int",
            "--text-column",
        ),
        ("a.jsonl", b'{"text": "a", "label": [1]}\n', "the label is of type list", "exactly one"),
        ("a.jsonl", b'{"text": "\\ud83d", "label": 1}\n', "surrogate", "UTF-8"),
        ("a.jsonl", b'{"text": "a", "label": "\\ud800"}\n', "row 1: the label has half", "UTF-8"),
        ("a.jsonl", b'{"label": ' + b"7" * 5000 + b"}\n", "line 1 is not .* 5000 digits.$", ""),
        ("a.parquet", b"PAR1 is not enough", "not a readable Parquet file", "again"),
        ("a.xlsx", b"x", r"unknown kind \(.xlsx\)", "Known kinds: .csv, .tsv"),
        ("afile", b"x", "unknown kind .no file ending", "Known kinds"),
    ],
)
def test_a_bad_file_is_refused_with_advice(tmp_path, name, content, message, hint):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_file(path, COLUMNS)
    assert name in caught.value.message
    assert hint in caught.value.hint


def test_a_parquet_file_with_wrong_columns_is_refused(tmp_path):
    pq.write_table(pa.table({"sentence": ["a"], "label": [1]}), tmp_path / "p.parquet")
    with pytest.raises(DataError, match="no column 'text'") as caught:
        read_file(tmp_path / "p.parquet", COLUMNS)
    assert "sentence, label" in caught.value.hint


def test_a_parquet_file_with_a_column_twice_is_refused(tmp_path):
    table = pa.Table.from_arrays([pa.array(["a"])] * 3, names=["text", "label", "label"])
    pq.write_table(table, tmp_path / "p.parquet")
    with pytest.raises(DataError, match="more than one column 'label'"):
        read_file(tmp_path / "p.parquet", COLUMNS)


def test_a_file_without_read_permission_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "secret.csv"
    path.write_text("text,label\n")

    def denied(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "read_bytes", denied)
    with pytest.raises(DataError, match="can't be read: Permission denied") as caught:
        read_file(path, COLUMNS)
    assert "permissions" in caught.value.hint
