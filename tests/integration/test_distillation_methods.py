"""Ways to start and to train students, on tiny models, through the files of a run folder."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from tiny import tiny_model
from toy_run import (
    CHILD,
    EVERYTHING,
    LABELS,
    QUIET,
    TED,
    changed_config,
    config_of,
    copy_run,
    rows,
    same,
    seen,
    weights,
    write_data,
)

from codlocal.core.console import Console
from codlocal.core.errors import ModelError
from codlocal.core.run import RunFolder
from codlocal.distillation import student as training
from codlocal.distillation.finetune import run_teacher
from codlocal.distillation.stage import run_distill
from codlocal.models.classifier import Classifier
from codlocal.models.teacher import load_teacher

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("home")]


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """Sums depend on the number of threads: a process that is killed must have as many as we."""
    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, RunFolder]:
    """Runs that were not killed, by their settings: each is trained once, whatever its kills."""
    return {}


@pytest.mark.parametrize(
    ("changes", "phase"),
    [({}, "."), (EVERYTHING, "."), (TED, "contrasting"), (TED, "tuning"), (TED, ".")],
    ids=["plain", "everything", "contrastive", "tuning", "ted"],
)
def test_a_killed_process_goes_on_to_the_same_weights(
    finished: RunFolder, tmp_path: Path, body, undisturbed, changes, phase
):
    config = changed_config(finished, body, steps=150, baseline=False, **changes)
    whole = undisturbed.get(config.to_toml())
    if whole is None:
        whole = copy_run(finished, tmp_path / "whole", config)
        run_distill(whole, load_teacher(whole), QUIET)
        undisturbed[config.to_toml()] = whole
    cut = copy_run(finished, tmp_path / "cut", config)
    settings = tmp_path / "settings.toml"
    settings.write_text(config.to_toml())
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(cut.path), str(settings)])
    log = cut.file("students", "student-seed0.partial", phase, "train_log.jsonl")
    while child.poll() is None and (not log.exists() or log.read_bytes().count(b"\n") < 50):
        time.sleep(0.001)
    child.kill()
    assert child.wait() == -signal.SIGKILL
    assert not cut.file("students", "student-seed0").exists()
    assert list(log.parent.glob("checkpoint-*"))
    run_distill(cut, load_teacher(cut), QUIET)
    assert same(weights(cut), weights(whole))
    for log in whole.file("student").glob("*_log.jsonl"):
        assert cut.file("student", log.name).read_bytes() == log.read_bytes()
    for kept in whole.file("students").glob("filters-*"):
        assert cut.file("students", kept.name).read_bytes() == kept.read_bytes()
    assert not list(cut.file("student").rglob("checkpoint*"))


ONE_BY_ONE = [{name: value} for name, value in [*EVERYTHING.items(), *TED.items()]]


@pytest.mark.parametrize("changes", [*ONE_BY_ONE, EVERYTHING, TED], ids=str)
def test_every_way_of_training_agrees_with_the_teacher_and_repeats(
    finished: RunFolder, tmp_path: Path, body: Path, changes
):
    config = changed_config(finished, body, **changes)
    runs = []
    for folder in ("first", "second"):
        run = copy_run(finished, tmp_path / folder, config)
        run_distill(run, load_teacher(run), QUIET)
        runs.append(run)
    assert same(weights(runs[0]), weights(runs[1]))
    assert not same(weights(runs[0]), weights(finished))
    texts = [text.text for text in seen()]
    student = Classifier.load(runs[0].file("student"), device="cpu", label_names=LABELS)
    teacher = load_teacher(finished)
    assert student.logits(texts).argmax(1).tolist() == teacher.logits(texts).argmax(1).tolist()
    facts = runs[0].facts("distill")["students"]
    log = runs[0].file("student", "train_log.jsonl").read_text().splitlines()
    assert (json.loads(log[0])["layer"] > 0) == (config.distillation.method != "kd")
    for term in ("pair", "interpolation"):
        assert any(json.loads(line)[term] for line in log) == (f"{term}_weight" in changes)
        # The baseline has no pairs, and the same start.
        assert facts["baseline-seed0"]["final_loss"][term] == 0
    assert facts["baseline-seed0"]["warm_start"] == facts["student-seed0"]["warm_start"]
    assert facts["student-seed0"]["layers"] == 2
    files = {path.name for path in runs[0].file("student").iterdir() if path.is_file()}
    phases = {"warm_start": "contrasting", "method": "tuning"}
    logs = {
        f"{phases[name]}_log.jsonl" for name, value in changes.items() if TED.get(name) == value
    }
    assert files == logs | {path.name for path in finished.file("student").iterdir()}
    assert not [path for path in runs[0].file("student").iterdir() if path.is_dir()]
    kept = {path.name for path in runs[0].file("students").iterdir()} - facts.keys()
    ted = config.distillation.method == "ted"
    assert kept == ({f"filters-{name}.safetensors" for name in facts} if ted else set())


def test_the_filters_of_a_student_are_kept_as_its_training_left_them(
    finished, tmp_path, body, monkeypatch
):
    config = changed_config(finished, body, method="ted", baseline=False, steps=8)
    run = copy_run(finished, tmp_path / "run", config)
    fitted, fit_filters = [], training.own_filters

    def fit(*given):
        fitted.append(fit_filters(*given))
        return fitted[-1]

    monkeypatch.setattr(training, "own_filters", fit)
    run_distill(run, load_teacher(run), QUIET)
    for seed, maps in enumerate(fitted):  # which trained on, in place
        path = run.file("students", f"filters-student-seed{seed}.safetensors")
        assert same(load_file(path), maps.state_dict())
        with safe_open(path, "pt") as file:
            assert file.metadata() == {"layers": "1 2"}
    assert len(fitted) == 2


def test_teacher_states_are_computed_once_for_all_students(finished, tmp_path, body, monkeypatch):
    run = copy_run(
        finished, tmp_path / "states", changed_config(finished, body, method="lwd", steps=2)
    )
    teacher = load_teacher(run)
    asked = []
    forward = teacher.model.forward
    monkeypatch.setattr(
        teacher.model, "forward", lambda **inputs: asked.append(inputs) or forward(**inputs)
    )
    run_distill(run, teacher, QUIET)
    texts = [row["id"] for row in rows(run.file("teacher_outputs", "ids.jsonl"))]
    with_states = [one for one in asked if one.get("output_hidden_states")]
    assert len(with_states) == len(texts) == len(set(texts))


@pytest.mark.usefixtures("fresh_accelerator")
@pytest.mark.parametrize("changes", [EVERYTHING, TED], ids=["everything", "ted"])
def test_half_precision_is_for_the_forward_pass_alone(finished, tmp_path, body, changes):
    settings = {**finished.config.distillation.model_dump(), **changes, "steps": 8}
    runtime = {**finished.config.runtime.model_dump(), "dtype": "bfloat16"}
    config = config_of(body, distillation=settings, runtime=runtime)
    run = copy_run(finished, tmp_path / "half", config)
    run_distill(run, load_teacher(run), QUIET)
    assert {tensor.dtype for tensor in weights(run).values()} == {torch.float32}
    assert run.facts("distill")["states"] == "per token"


@pytest.mark.parametrize("warm_start", ["none", "head"])
def test_trained_students_go_back_toward_what_they_were_made_of_by_their_share(
    finished, tmp_path, body, warm_start
):
    def trained(share: float) -> dict[str, torch.Tensor]:
        changes = {"student_init": "teacher", "warm_start": warm_start, "steps": 8}
        config = changed_config(finished, body, baseline=False, teacher_share=share, **changes)
        run = copy_run(finished, tmp_path / str(share), config)
        run_distill(run, load_teacher(run), QUIET)
        return weights(run)

    whole, quarter, half = (trained(share) for share in (0.0, 0.25, 0.5))
    assert any(not torch.allclose(whole[name], half[name]) for name in whole)
    for name in whole:
        torch.testing.assert_close(quarter[name], (whole[name] + half[name]) / 2)
    head = "classifier.weight"
    given = 2 * half[head] - whole[head]
    own = load_teacher(RunFolder(finished.path, finished.config)).model.get_parameter(head)
    assert torch.allclose(given, own, atol=1e-5) == (warm_start == "none")


def test_a_share_that_a_pretrained_student_does_not_heed_is_told(finished, tmp_path, body, capsys):
    config = changed_config(finished, body, baseline=False, teacher_share=0.5, steps=2)
    run = copy_run(finished, tmp_path / "run", config)
    run_distill(run, load_teacher(run), Console())
    assert "Nothing goes back by distillation.teacher_share" in capsys.readouterr().err


def test_a_student_of_another_family_than_its_teacher_is_refused(finished, tmp_path, body):
    other = tiny_model(tmp_path / "other", "deberta")
    config = changed_config(finished, body, student=str(other), student_init="teacher")
    run = copy_run(finished, tmp_path / "run", config)
    with pytest.raises(ModelError, match="can't be made of the layers"):
        run_distill(run, load_teacher(run), QUIET)
    fresh = RunFolder(tmp_path / "fresh", config)
    write_data(fresh)
    with pytest.raises(ModelError, match="can't be made of the layers"):
        run_teacher(fresh, QUIET)
