"""`codlocal verify` as a process: stub server, tiny teacher, killed in the middle, no network."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from offline import environment, escapes
from runs import config, run_with_data
from tiny import tiny_model

from codlocal.core import jsonl
from codlocal.core.records import Candidate, CounterfactualPair, Rejection, Verdict
from codlocal.models.folders import model_hash
from codlocal.models.teacher import TeacherRecord

pytestmark = pytest.mark.integration

TESTS = Path(__file__).parents[1]
LABELS = ("negative", "positive")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return make_place(tmp_path_factory.mktemp("place"), ["guided", "wide", "free"])


def make_place(folder, rounds, seed=0):
    """A folder with a stub interpreter, a model folder and a run whose teacher stage is done."""
    folder.mkdir(exist_ok=True)
    python = folder / "python-with-vllm"
    python.write_text(
        f"#!{sys.executable}\nimport os, sys\nsys.path.insert(0, {str(TESTS)!r})\n"
        "from fake_server import serve_like_vllm\n"
        "if '-c' in sys.argv: sys.exit()  # asked whether it has vLLM\n"
        "serve_like_vllm(sys.argv, slow=float(os.environ.get('SLOW', '0')))\n"
    )
    python.chmod(0o755)
    generator = folder / "generator"
    generator.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        generator.joinpath(name).write_text("{}")
    teacher = tiny_model(folder / "teacher", labels=LABELS, seed=seed)
    settings = config(
        generator={"model": str(generator), "rounds": rounds},
        verification={"min_pairs": 0, "max_edit_distance": 5.0},
        runtime={"device": "cpu", "engine_python": str(python), "threads": 1, "offline": True},
    )
    record = TeacherRecord(
        path=str(teacher), trained=False, base="tiny", sha256=model_hash(teacher), labels=LABELS
    )
    with run_with_data(folder / "run", settings) as run, run.stage("teacher"):
        jsonl.write_json(run.file("teacher.json"), record.model_dump(mode="json"))
    return folder


def start(place, run, tmp_path, *arguments, **more):
    command = [sys.executable, "-m", "codlocal", "verify", "--run", str(run), "--json"]
    return subprocess.Popen(
        [*command, *arguments],
        env={**environment(tmp_path), "CODLOCAL_HOME": str(place / "home"), **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(place, run, tmp_path, *arguments):
    with start(place, run, tmp_path, *arguments) as process:
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return json.loads(out)


def rows(run, name, kind):
    return list(jsonl.read_rows(run / name, kind))


@pytest.fixture(scope="module")
def undisturbed(place, tmp_path_factory):
    run = place / "undisturbed"
    shutil.copytree(place / "run", run)
    watched = tmp_path_factory.mktemp("watched")
    summary = finish(place, run, watched)
    assert escapes(watched) == []
    return run, summary


def test_a_whole_search_runs_offline_and_adds_up(undisturbed):
    run, summary = undisturbed
    candidates = rows(run, "candidates.jsonl", Candidate)
    pairs = rows(run, "pairs.jsonl", CounterfactualPair)
    refused = rows(run, "rejections.jsonl", Rejection)
    assert summary["stages"]["generate"]["candidates"] == len(candidates) > 0
    assert len(candidates) == len(pairs) + sum(row.candidate_id is not None for row in refused)
    assert all(row.failure is None for row in candidates if row.strategy != "free")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_killed_in_the_middle_it_goes_on_to_the_same_pairs(place, undisturbed, tmp_path, number):
    run = tmp_path / "run"
    shutil.copytree(place / "run", run)
    with start(place, run, tmp_path, SLOW="0.3") as process:
        deadline = time.monotonic() + 90
        while not rows(run, "candidates.jsonl", Candidate) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    written = rows(run, "candidates.jsonl", Candidate)
    assert written
    assert "Traceback" not in err
    if number == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 130
        assert err.rstrip().endswith("Hint: Run the same command again to go on.")
        assert json.loads(out)["exit_code"] == 130
    assert no_server_left(run)
    finish(place, run, tmp_path)
    whole, _ = undisturbed
    kept = rows(run, "candidates.jsonl", Candidate)
    assert by_id(written).items() <= by_id(kept).items()
    same_files(run, whole)


FILES = ("originals.jsonl", "candidates.jsonl", "verdicts.jsonl", "pairs.jsonl", "rejections.jsonl")


def same_files(run, other):
    for name in FILES:
        assert (run / name).read_bytes() == (other / name).read_bytes(), name


def by_id(candidates):
    return {row.id: row for row in candidates}


def no_server_left(run, seconds=15.0):
    """Whether no process has this run's server log open any more."""
    log = str(run / "server.log")
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not any(_has_open(entry, log) for entry in Path("/proc").iterdir()):
            return True
        time.sleep(0.1)
    return False


def _has_open(process, path):
    try:
        return any(str(one.readlink()) == path for one in (process / "fd").iterdir())
    except OSError:
        return False


def test_a_server_that_dies_is_an_error_that_says_how_to_go_on(place, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(place / "run", run)
    with start(place, run, tmp_path, SLOW="not a number") as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 3
    assert "The vLLM server died: exit status 1" in err
    assert "could not convert string to float" in err
    assert "run the command again to go on" in err


def test_a_replay_needs_no_generator_and_gives_the_very_same_files(place, undisturbed, tmp_path):
    whole, _ = undisturbed
    run = tmp_path / "run"
    shutil.copytree(place / "run", run)
    nothing = ("--set", "runtime.engine_python=/nowhere/python")
    summary = finish(place, run, tmp_path, *nothing, "--replay", str(whole))
    assert summary["stages"]["generate"]["replay"] == str(whole / "replies.jsonl")
    assert not run.joinpath("server.log").exists()
    same_files(run, whole)


def test_what_is_in_the_store_is_not_asked_again(place, undisturbed, tmp_path):
    whole, _ = undisturbed
    run = tmp_path / "run"
    shutil.copytree(place / "run", run)
    shutil.copy(whole / "replies.jsonl", run)
    summary = finish(place, run, tmp_path)
    assert summary["stages"]["generate"]["requests_asked"] == 0
    assert not run.joinpath("server.log").exists()


def test_a_replay_of_other_settings_says_which(place, undisturbed, tmp_path):
    whole, _ = undisturbed
    run = tmp_path / "run"
    shutil.copytree(place / "run", run)
    other = ("--temperature", "0.2", "--replay", str(whole))
    with start(place, run, tmp_path, *other) as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 3, err
    assert "generator.temperature: 0.7 -> 0.2" in err
    assert "temperature 0.2, recorded: 0.7" in err


def test_infill_rounds_are_killed_resumed_and_replayed(tmp_path):
    # Of the first seeds the one whose random weights change their mind at a word.
    place = make_place(tmp_path / "place", ["infill", "infill"], seed=3)
    whole, killed, again = (place / name for name in ("whole", "killed", "again"))
    for run in (whole, killed, again):
        shutil.copytree(place / "run", run)
    finish(place, whole, tmp_path)
    filled = {row.id for row in rows(whole, "candidates.jsonl", Candidate) if row.text is not None}
    flipped = {row.candidate_id for row in rows(whole, "verdicts.jsonl", Verdict) if row.flipped}
    assert filled
    assert filled == flipped

    with start(place, killed, tmp_path, SLOW="0.3") as process:
        deadline = time.monotonic() + 90
        while not rows(killed, "candidates.jsonl", Candidate) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.kill()
        process.communicate(timeout=60)
    assert len(rows(killed, "candidates.jsonl", Candidate)) < len(filled)
    finish(place, killed, tmp_path)
    same_files(killed, whole)

    nothing = ("--set", "runtime.engine_python=/nowhere/python")
    finish(place, again, tmp_path, *nothing, "--replay", str(whole))
    same_files(again, whole)
