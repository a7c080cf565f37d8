import json

import pytest
from rich.table import Table

from codlocal.core import console as module
from codlocal.core.console import Console, Task


def test_levels_of_talk(capsys):
    for verbosity in (-1, 0, 1):
        console = Console(verbosity)
        console.info("info [bold]")
        console.detail("detail")
        console.warn("careful")
        console.error("broken", "mend it")
        console.error("no hint")
        said = capsys.readouterr()
        assert said.out == ""
        assert ("info [bold]" in said.err) == (verbosity >= 0)
        assert ("detail" in said.err) == (verbosity >= 1)
        assert "Warning: careful" in said.err
        assert "Error: broken\nHint: mend it\nError: no hint\n" in said.err


def test_words_of_the_user_are_shown_as_they_are(capsys):
    table = Table("[/neg]".replace("[", "\\["))
    table.add_row(":thumbs_up:")
    console = Console()
    console.result({}, table)
    console.info("runs/:x:/[/neg]")
    console.warn("[bold]:x:")
    console.error("[/x]", ":x:")
    said = capsys.readouterr()
    assert "[/neg]" in said.out and ":thumbs_up:" in said.out
    assert said.err == "runs/:x:/[/neg]\nWarning: [bold]:x:\nError: [/x]\nHint: :x:\n"


def test_plain_progress_ends_with_a_whole_line(capsys):
    with Console().progress("verify", 4) as task:
        task.advance(2)
        task.note(flips=1, kept_pairs=2)
        task.grow(2)
        task.advance(4)
    line = capsys.readouterr().err
    assert line.startswith("verify: 6/6,")
    assert "flips 1, kept pairs 2" in line
    assert line.count("\n") == 1


def test_plain_progress_prints_now_and_then_and_without_a_total(capsys, monkeypatch):
    monkeypatch.setattr(module, "_PLAIN_SECONDS", 0.0)
    with Console().progress("load", None) as task:
        task.advance()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0] == "load"


def test_what_has_no_total_is_told_at_once_and_not_again_without_news(capsys):
    with Console().progress("load", None):
        assert capsys.readouterr().err == "load\n"
    assert capsys.readouterr().err == ""
    with Console().progress("start", None) as task:
        task.note(waited="3 s")
    assert capsys.readouterr().err.splitlines() == ["start", "start: waited 3 s"]


def test_quiet_progress_says_nothing(capsys):
    with Console(-1).progress("load", 2) as task:
        task.advance()
        assert (task.completed, task.total) == (1, 2)
    assert capsys.readouterr().err == ""


def test_progress_on_a_terminal_is_drawn(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    console = Console()
    assert console.interactive
    with console.progress("distill [/]", 3) as task:
        task.advance()
        task.note(step="Collecting vllm[cpu]")
        assert task.rate > 0
    drawn = capsys.readouterr().err
    assert "distill [/]" in drawn
    assert "Collecting vllm[cpu]" in drawn


def test_growing_from_nothing():
    task = Task("x", None)
    task.grow(3)
    assert task.total == 3


@pytest.mark.parametrize("verbosity", [-1, 0])
def test_json_goes_to_standard_output_alone(capsys, verbosity):
    Console(verbosity, as_json=True).result({"ü": 1}, Table())
    assert json.loads(capsys.readouterr().out) == {"ü": 1}


def test_tables_are_results_unless_quiet(capsys):
    table = Table("accuracy")
    table.add_row("0.9")
    Console().result({}, table)
    assert "0.9" in capsys.readouterr().out
    Console().result({}, [table, table])
    assert capsys.readouterr().out.count("0.9") == 2
    Console(-1).result({}, table)
    Console().result({})
    assert capsys.readouterr().out == ""


def test_a_table_in_a_pipe_is_as_wide_as_it_needs(capsys):
    table = Table("name", "value")
    table.add_row("a" * 70, "0.912 ±0.034 " * 6)
    Console().result({}, table)
    found = capsys.readouterr().out
    assert "a" * 70 in found
    assert "0.912 ±0.034 " * 5 in found


def test_of_a_table_on_a_narrow_terminal_nothing_is_cut_off(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("FORCE_COLOR", "1")
    table = Table("name", "value")
    table.add_row("abcdefghijklmnop", "0123456789")
    Console().result({}, table)
    found = capsys.readouterr().out
    assert "…" not in found
    assert {*"abcdefghijklmnop0123456789"} <= {*found}


HOSTILE = "a\x1b]0;title\x07b\x9b2Jc\u202ed"


@pytest.mark.parametrize("terminal", [True, False])
def test_nothing_that_is_said_steers_the_terminal(capsys, monkeypatch, terminal):
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
    console = Console(1)
    table = Table(HOSTILE, title=HOSTILE, caption=HOSTILE)
    table.add_row(HOSTILE)
    console.result({}, table)
    for say in (console.info, console.detail, console.warn):
        say(HOSTILE)
    console.error(HOSTILE, HOSTILE)
    with console.progress(HOSTILE, 2) as task:
        task.note(now=HOSTILE)
        task.advance()
    said = capsys.readouterr()
    for text in (said.out, said.err):
        assert "]0;title" in text
        assert not {"\x1b]", "\x07", "\x9b", "\u202e"} & {text[i : i + n] for n in (1, 2)
                                                         for i in range(len(text))}  # fmt: skip
