import pytest

from codlocal.core import jsonl
from codlocal.core.errors import RunError
from codlocal.core.keyed_rows import KeyedRows, sort_rows
from codlocal.core.records import Example


def opened(path):
    return KeyedRows(path, Example, lambda row: row.id)


def rows(count, label=0):
    return [Example(id=f"row/{n}", text=f"tëxt {n}", label=label) for n in range(count)]


def test_rows_are_found_while_they_are_written_and_ever_after(tmp_path):
    path = tmp_path / "rows.jsonl"
    with opened(path) as table:
        assert not path.exists()
        for row in rows(50):
            table.append(row)
            assert table.get(row.id) == row
        assert table.get("row/50") is None
    with opened(path) as table:
        assert len(table) == 50
        assert [table.get(row.id) for row in rows(50)] == rows(50)


def test_the_first_row_of_a_key_counts(tmp_path):
    path = tmp_path / "rows.jsonl"
    with opened(path) as table:
        table.append(rows(1)[0])
        table.append(rows(1, label=1)[0])
        assert table.get("row/0").label == 0
    with opened(path) as table:
        assert table.get("row/0").label == 0
        assert len(table) == 1


def test_a_torn_last_row_is_written_anew(tmp_path):
    path = tmp_path / "rows.jsonl"
    first, second = rows(2)
    path.write_text(first.model_dump_json() + "\n" + second.model_dump_json()[:-3])
    with opened(path) as table:
        assert table.get(second.id) is None
        table.append(second)
        assert [table.get(row.id) for row in (first, second)] == [first, second]
    with opened(path) as table:
        assert table.get(second.id) == second


def test_a_damaged_row_is_named(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("{}\n")
    with pytest.raises(RunError, match=r"line 1, is not a valid Example"):
        opened(path)


def test_rows_are_put_in_the_order_of_their_keys(tmp_path):
    path = tmp_path / "rows.jsonl"
    jsonl.write_rows(path, rows(12)[::-1])
    sort_rows(path, Example, lambda row: f"{int(row.id.split('/')[1]):03}")
    assert list(jsonl.read_rows(path, Example)) == rows(12)
    sort_rows(tmp_path / "nothing.jsonl", Example, lambda row: row.id)
    assert not (tmp_path / "nothing.jsonl").exists()


def test_rows_are_found_by_how_their_keys_start(tmp_path):
    with opened(tmp_path / "rows.jsonl") as table:
        assert table.starting_with("row/") == []
        table.extend(rows(21)[::-1])
        assert [row.id for row in table.starting_with("row/2")] == ["row/2", "row/20"]
        assert len(table.starting_with("row/")) == 21
        assert table.starting_with("other") == []
