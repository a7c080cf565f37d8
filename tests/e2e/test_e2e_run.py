"""A whole run on a real server: killed in the middle, resumed, and read back by others."""

import json
import os
import re
import resource
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest
from transformers import AutoModelForSequenceClassification, AutoTokenizer

Codlocal = Callable[..., "subprocess.Popen[str]"]

ROWS = 40


def _write_data(path: Path) -> None:
    """Sentences of other column names, so that the options for them are used too."""
    foods = ("soup", "bread", "tea", "rice", "cake", "fish", "salad", "pie", "stew", "corn")
    rows = ["body,stars"]
    for index in range(ROWS):
        food, good = foods[index % 10], index % 2
        words = ("great", "good") if good else ("awful", "bad")
        rows.append(
            f"The {food} was {words[index % 4 // 2]} on day {index}.,"
            f"{'positive' if good else 'negative'}"
        )
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _wait_for_rows(path: Path, count: int, process: "subprocess.Popen[str]") -> None:
    while len(_lines(path)) < count:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)


def _kill_server(run: Path, process: "subprocess.Popen[str]") -> None:
    """End the API server, as the system's memory killer would.

    It may be starting still: the first rows can come of what was answered before.
    """
    while (
        found := re.search(r"\(APIServer pid=(\d+)\)", (run / "server.log").read_text())
    ) is None:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    os.kill(int(found.group(1)), signal.SIGKILL)


def _finish(process: "subprocess.Popen[str]") -> dict[str, Any]:
    out, err = process.communicate()
    assert process.returncode == 0, err
    return json.loads(out)


def _seconds_of_children() -> float:
    """Processor time: what else runs on this machine doesn't count."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.timeout(600)
def test_a_run_survives_kills_and_ends_whole(
    generator: tuple[str, ...], codlocal: Codlocal, classifier: Path, tmp_path: Path
) -> None:
    _write_data(tmp_path / "mine.csv")
    command = (
        "pipeline", "--data", "mine.csv", "--text-column", "body", "--label-column", "stars",
        *generator,
        "--teacher", str(classifier), "--student", str(classifier),
        "-k", "16", "--candidates", "6", "--set", "generator.rounds=['infill', 'guided']",
        "--steps", "6", "--set", "verification.min_pairs=0",
        "--set", "distillation.max_length=32", "--concurrency", "2",
        "--run", "r", "--json",
    )  # fmt: skip
    run = tmp_path / "r"
    candidates = run / "candidates.jsonl"

    process = codlocal(*command)
    _wait_for_rows(candidates, 6, process)
    process.kill()
    process.communicate()
    before = _lines(candidates)

    process = codlocal(*command)
    _wait_for_rows(candidates, len(before) + 4, process)
    _kill_server(run, process)
    _out, err = process.communicate()
    assert process.returncode == 3, err
    assert "The vLLM server died" in err
    assert "Traceback" not in err
    assert _lines(candidates)[: len(before)] == before
    before = _lines(candidates)

    summary = _finish(codlocal(*command))
    assert set(before) <= set(_lines(candidates))
    ids = [json.loads(line)["id"] for line in _lines(candidates)]
    assert len(ids) == len(set(ids))
    assert summary["metrics"]["student"]["n"] == summary["metrics"]["baseline"]["n"]
    _check_accounts(run)
    _check_readable(run)

    replay = (*command[:-3], "--run", "replay", "--replay", "r", "--json")
    _finish(codlocal(*replay, "--engine-python", "/nowhere/python"))
    assert not (tmp_path / "replay" / "server.log").exists()
    for name in ("candidates.jsonl", "verdicts.jsonl", "pairs.jsonl", "rejections.jsonl"):
        assert (tmp_path / "replay" / name).read_bytes() == (run / name).read_bytes()

    spent, log = _seconds_of_children(), (run / "server.log").stat().st_mtime_ns
    again = _finish(codlocal(*command))
    assert _seconds_of_children() - spent < 2.0
    assert (run / "server.log").stat().st_mtime_ns == log
    assert again["metrics"] == summary["metrics"]


def _check_accounts(run: Path) -> None:
    """Every candidate is a pair or a rejection with a reason, and none is both."""
    candidates = {json.loads(line)["id"] for line in _lines(run / "candidates.jsonl")}
    taken = [json.loads(line)["candidate_id"] for line in _lines(run / "pairs.jsonl")]
    rejected = [
        row["candidate_id"]
        for row in map(json.loads, _lines(run / "rejections.jsonl"))
        if row["candidate_id"] is not None
    ]
    assert sorted([*taken, *rejected]) == sorted(candidates)


def _check_readable(run: Path) -> None:
    """The folder is plain `datasets` and `transformers` material."""
    rows = datasets.Dataset.from_json(str(run / "candidates.jsonl"), cache_dir=str(run / "cache"))
    assert len(rows) == len(_lines(run / "candidates.jsonl"))
    model = AutoModelForSequenceClassification.from_pretrained(run / "student")
    tokenizer = AutoTokenizer.from_pretrained(run / "student")
    assert model(**tokenizer(["The soup was good."], return_tensors="pt")).logits.shape == (1, 2)
