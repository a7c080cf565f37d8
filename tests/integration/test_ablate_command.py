"""An ablation in process, from a grid to its report, on tiny models."""

import fcntl
import importlib.util
import json
from collections import Counter

import pytest

from codlocal.core import jsonl
from codlocal.core.errors import ModelError
from codlocal.evaluation.results import CellResult
from codlocal.pipeline import ablation, bench

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated"),
]

GRID = """
profile = "embedded"
dataset = {{ path = "mine.csv", text_column = "body", label_column = "verdict" }}
generator = "generator"
k = [4, 8]
seeds = 2
arm = {arms}
{more}
[settings]
teacher = {{ model = "encoder", epochs = 15, batch_size = 8, learning_rate = 3e-3 }}
verification = {{ min_pairs = 0, max_edit_distance = 2.0 }}
distillation = {{ student = "encoder", student_layers = 1, steps = 5, max_length = 64 }}
runtime = {{ device = "cpu", dtype = "float32", offline = true, threads = 1 }}
[settings.generator]
engine = "transformers"
candidates = 2
rounds = ["guided"]
reply_tokens = 100
temperature = 1.0
"""
ARMS = ["student", "baseline", "unverified", "random-soft", "untrained", "logistic", "setfit"]


@pytest.fixture(scope="module")
def place(toys):
    write_grid(toys, ARMS)
    return toys


def write_grid(folder, arms, more=""):
    folder.joinpath("grid.toml").write_text(GRID.format(arms=json.dumps(arms), more=more))


@pytest.fixture
def call(call, place, monkeypatch):
    monkeypatch.setenv("CODLOCAL_HOME", str(place / "home"))
    monkeypatch.chdir(place)
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "setfit" else find(name)
    )

    def run(*arguments, code=0):
        ended, out, err = call(*arguments, "--json")
        assert ended == code, err
        return json.loads(out), err

    return run


def ablate(call, *more, code=0):
    return call("ablate", "grid.toml", "--out", "sweep", *more, code=code)


def test_a_dry_run_names_every_cell_and_makes_nothing(place, call):
    summary, _ = ablate(call, "--dry-run")
    (source,) = summary["runs"]
    assert source["counterfactuals"] == "generator, to be written"
    assert len(source["cells"]) == len(ARMS) * 4
    assert all(cell["to_do"] for cell in source["cells"])
    assert not place.joinpath("sweep").exists()


def test_a_dry_run_tells_which_run_shares_its_counterfactuals(place, call):
    write_grid(place, ["student", "baseline"], 'vary.verification.select = ["minimal", "fluent"]')
    summary, _ = ablate(call, "--dry-run")
    first, second = summary["runs"]
    assert first["counterfactuals"] == "generator, to be written"
    assert second["counterfactuals"] == f"generator, from sweep/runs/{first['run']}"
    write_grid(place, ARMS)


def test_a_folder_with_results_of_its_own_is_refused(place, call):
    place.joinpath("mine").mkdir()
    place.joinpath("mine/results.csv").write_text("a,b\n")
    failed, _ = call("ablate", "grid.toml", "--out", "mine", code=1)
    assert "its own results.csv would be overwritten" in failed["error"]
    assert place.joinpath("mine/results.csv").read_text() == "a,b\n"


def test_an_interrupted_sweep_keeps_what_it_has(place, call, monkeypatch):
    measure = bench.Bench.measure
    count = iter(range(100))

    def interrupted(self, cell):
        if next(count) == 2:
            raise KeyboardInterrupt
        return measure(self, cell)

    monkeypatch.setattr(bench.Bench, "measure", interrupted)
    _, err = ablate(call, code=130)
    assert "go on" in err
    assert len(list(jsonl.read_rows(place / "sweep/results.jsonl", CellResult))) == 2


def test_the_sweep_goes_on_past_failures_and_says_so(place, call):
    (run,) = place.joinpath("sweep/runs").iterdir()
    before = run.joinpath("candidates.jsonl").stat().st_mtime_ns
    summary, err = ablate(call, code=4)
    assert run.joinpath("candidates.jsonl").stat().st_mtime_ns == before
    assert (summary["cells"], summary["failed"]) == (len(ARMS) * 4, 4)
    assert "4 cells failed: SetFit is not installed." in err
    for row in summary["results"]:
        assert (row["error"] is None) == (row["arm"] != "setfit")
    done = {(row["arm"], row["k"], row["seed"]): row for row in summary["results"]}
    baseline = done["baseline", 8, 1]
    assert baseline["facts"]["texts"] == 8 and baseline["facts"]["pairs"] == 0
    assert baseline["metrics"]["n"] == 12
    assert done["untrained", 8, 0]["facts"] is None
    assert baseline["generator"] is None and done["student", 8, 0]["generator"] == "generator"
    assert len(list(jsonl.read_rows(place / "sweep/results.jsonl", CellResult))) == len(ARMS) * 4
    assert not list(place.joinpath("sweep/work").iterdir())


def test_again_only_what_failed_is_tried(place, call, monkeypatch):
    tried = []

    def fails(_self, cell):
        tried.append(cell.arm)
        raise ModelError("Still not there.", "Get it.")

    monkeypatch.setattr(bench.Bench, "measure", fails)
    summary, _ = ablate(call, code=4)
    assert tried == ["setfit"] * 4
    assert {row["error"] for row in summary["results"]} == {None, "Still not there. Get it."}
    planned, _ = ablate(call, "--dry-run")
    assert planned["runs"][0]["counterfactuals"] == "generator, there already"
    assert sum(cell["to_do"] for cell in planned["runs"][0]["cells"]) == 4


def test_a_cell_that_needs_too_much_memory_fails_alone(place, call, monkeypatch):
    tried = []

    def fails(_self, cell):
        tried.append(cell.arm)
        raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    monkeypatch.setattr(bench.Bench, "measure", fails)
    summary, _ = ablate(call, code=4)
    assert tried == ["setfit"] * 4
    (lost,) = {row["error"] for row in summary["results"]} - {None}
    assert "The device has too little memory: CUDA out of memory" in lost
    assert "batch_size" in lost


def test_a_run_that_is_busy_or_lacks_a_package_fails_its_cells_alone(place, call, monkeypatch):
    more = """[vary.distillation]
quantization = ["nf4", "none"]
"""
    write_grid(place, ["baseline"], more)
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "peft" else find(name)
    )
    summary, err = ablate(call, code=4)
    assert (summary["cells"], summary["failed"]) == (8, 4)
    assert "4 cells failed: nf4 needs peft, not installed here. pip install peft" in err
    monkeypatch.setattr(importlib.util, "find_spec", find)
    (run,) = place.joinpath("sweep/runs").iterdir()
    for prepared in (ablation._prepared, lambda _source, cells, *_more: (cells, [])):
        monkeypatch.setattr(ablation, "_prepared", prepared)
        with run.joinpath("run.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            summary, err = ablate(call, code=4)
        assert (summary["cells"], summary["failed"]) == (8, 4)
        assert "4 cells failed: Another codlocal process is working on" in err


@pytest.mark.parametrize("control", ["random-soft", "alpha0"])
def test_controls_of_the_soft_labels_learn_no_hidden_states_either(place, call, control):
    (run,) = place.joinpath("sweep/runs").iterdir()
    found = {}
    for method in ("kd", "lwd"):
        write_grid(place, ["student", control], f'method = "{method}"\npairs_from = "{run}"')
        summary, _ = call("ablate", "grid.toml", "--out", f"{control}-{method}")
        found |= {(row["arm"], method): row["metrics"] for row in summary["results"]}
    assert found[control, "kd"] == found[control, "lwd"]
    assert found["student", "kd"] != found["student", "lwd"]


def test_what_does_not_depend_on_the_method_is_done_once(place, call, monkeypatch):
    asked, measure = [], bench.Bench.measure

    def counted(self, cell):
        asked.append((cell.arm, cell.blank.method))
        return measure(self, cell)

    monkeypatch.setattr(bench.Bench, "measure", counted)
    (run,) = place.joinpath("sweep/runs").iterdir()
    for methods, work in {
        '["kd", "lwd"]': [("half", "kd"), ("logistic", "kd"), ("half", "lwd")],
        '["kd", "lwd", "ted"]': [("half", "ted")],
    }.items():
        asked.clear()
        write_grid(place, ["half", "logistic"], f'method = {methods}\npairs_from = "{run}"')
        planned, _ = call("ablate", "grid.toml", "--out", "methods", "--dry-run")
        assert sum(one["to_do"] for one in planned["runs"][0]["cells"]) == 4 * len(work)
        summary, _ = call("ablate", "grid.toml", "--out", "methods")
        assert Counter(asked) == dict.fromkeys(work, 4)
    assert not list(place.joinpath("methods/work").iterdir())  # nor the filters of ted
    peers = [row for row in summary["results"] if row["arm"] == "logistic"]
    assert Counter(row["method"] for row in peers) == {"kd": 4, "lwd": 4, "ted": 4}
    for row in peers:
        twins = [one for one in peers if (one["k"], one["seed"]) == (row["k"], row["seed"])]
        assert [one["metrics"] for one in twins] == [row["metrics"]] * 3
        assert [one["facts"] for one in twins] == [row["facts"]] * 3


def test_a_new_axis_names_the_results_that_are_there_too(place, call):
    write_grid(place, ["half"])
    call("ablate", "grid.toml", "--out", "axis")
    write_grid(place, ["half"], '[vary.distillation]\nwarm_start = ["auto", "head"]')
    planned, _ = call("ablate", "grid.toml", "--out", "axis", "--dry-run")
    assert sum(one["to_do"] for one in planned["runs"][0]["cells"]) == 4
    summary, _ = call("ablate", "grid.toml", "--out", "axis")
    names = Counter(row["settings"]["distillation.warm_start"] for row in summary["results"])
    assert names == {"auto": 4, "head": 4}
    # The report reads them from the file.
    assert len(list(jsonl.read_rows(place / "axis/results.jsonl", CellResult))) == 4 + 4 + 4


def test_another_arm_and_method_use_what_is_there(place, call):
    write_grid(place, ["student", "half"], 'method = ["kd", "lwd"]')
    summary, _ = ablate(call)
    assert {row["method"] for row in summary["results"]} == {"kd", "lwd"}
    assert len(summary["results"]) == 16
    assert len(list(place.joinpath("sweep/runs").iterdir())) == 1


def test_a_run_lends_its_counterfactuals(place, call):
    (run,) = place.joinpath("sweep/runs").iterdir()
    write_grid(place, ["student"], f'pairs_from = "{run}"')
    summary, _ = call("ablate", "grid.toml", "--out", "second")
    (own,) = place.joinpath("second/runs").iterdir()
    assert own.joinpath("pairs.jsonl").read_bytes() == run.joinpath("pairs.jsonl").read_bytes()
    rows = {(row["arm"], row["k"], row["seed"]): row["metrics"] for row in summary["results"]}
    first = jsonl.read_rows(place / "sweep/results.jsonl", CellResult)
    same = {(row.arm, row.k, row.seed): row for row in first if row.method == "kd"}
    for key, metrics in rows.items():
        # The teacher was asked for other texts beside these: equal but for rounding.
        assert same[key].metrics.model_dump() == pytest.approx(metrics, abs=1e-3)


def test_a_teacher_that_is_not_there_fails_its_cells_alone(place, call):
    more = 'vary.teacher.model = ["encoder", "./nowhere"]'
    write_grid(place, ["baseline"], more)
    summary, err = call("ablate", "grid.toml", "--out", "third", code=4)
    assert (summary["cells"], summary["failed"]) == (8, 4)
    assert "There is no model folder nowhere" in err


def test_a_student_that_cant_be_made_fails_its_cells_alone(place, call):
    more = 'vary.distillation.student = ["./nowhere", "encoder"]'
    write_grid(place, ["student", "baseline"], more)
    summary, err = call("ablate", "grid.toml", "--out", "fourth", code=4)
    assert (summary["cells"], summary["failed"]) == (16, 8)
    assert "8 cells failed: There is no model folder nowhere" in err


def test_the_report_reads_sweeps_and_mixes_none(place, call):
    summary, _ = call("report", "sweep", "sweep", "--out", "report")
    text = place.joinpath("report/report.md").read_text()
    assert summary["report"] == "report/report.md"
    assert "## mine, kd" in text and "## mine, lwd" in text and "half" in text
    assert place.joinpath("report/figure-2.svg").is_file()
    failed, _ = call("report", "sweep", "second", code=1)
    assert "unequal cells under one name (mine, lwd, student, k = 4, seed 0)" in failed["error"]
    failed, _ = call("report", "nothing", code=1)
    assert "no sweep in nothing" in failed["error"]


def test_the_theory_is_drawn(place, call):
    summary, _ = call("theory", "--seeds", "1", "-k", "6", "--out", "theory")
    assert [row["arm"] for row in summary["results"]] == ["student", "baseline"]
    assert place.joinpath("theory/two-moons.svg").stat().st_size > 1000
    assert json.loads(place.joinpath("theory/two-moons.json").read_text()) == summary
    for k in ("7", "602"):
        assert "must be even, and 600 at most" in call("theory", "-k", k, code=1)[0]["error"]
