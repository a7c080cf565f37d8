import importlib.metadata
import json
import os
import subprocess

import pytest

from codlocal.airgap import doctor, engine
from codlocal.core import paths
from codlocal.core.errors import EngineError
from codlocal.models import packages


@pytest.fixture(autouse=True)
def no_vllm(monkeypatch):
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda _name: None)


def found(name, python=None):
    [finding] = [one for one in doctor.examine(python) if one.name == name]
    return finding


def test_an_empty_machine_lacks_the_engine_only():
    findings = doctor.examine()
    missing = [finding for finding in findings if finding.state == "missing"]
    assert [finding.name for finding in missing] == ["vllm"]
    assert all(finding.remedy for finding in findings if finding.state != "ok")
    assert {finding.area for finding in findings} == {
        "versions", "devices", "engine", "models", "disk",
    }  # fmt: skip
    summary = doctor.as_json(findings)
    assert summary["ready"] is False
    assert json.loads(json.dumps(summary))["findings"][0]["name"] == "codlocal"


def test_a_half_installed_engine_is_no_engine(home):
    paths.engine_python().parent.mkdir(parents=True)
    paths.engine_python().touch()
    assert found("vllm").value == "half installed"
    assert "engine install" in found("vllm").remedy


def test_an_installed_engine_is_asked_for_its_version(monkeypatch):
    paths.engine().mkdir(parents=True)
    paths.engine().joinpath("codlocal.json").write_text('{"kind": "cpu", "vllm": "0.32.0"}')
    monkeypatch.setattr(engine, "imported_version", lambda _python: "0.32.0")
    assert found("vllm").value == f"0.32.0 (cpu) in {paths.engine_python()}"
    assert doctor.as_json(doctor.examine())["ready"] is True


def test_a_chosen_engine_that_does_not_import_is_missing(tmp_path, monkeypatch):
    assert "No such file" in found("vllm", tmp_path / "none").value

    def broken(python):
        raise EngineError(f"vLLM does not import under {python}: no torch")

    monkeypatch.setattr(engine, "imported_version", broken)
    finding = found("vllm", tmp_path / "python")
    assert finding.state == "missing"
    assert "no torch" in finding.value


def test_vllm_in_our_own_environment_counts(monkeypatch):
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda _name: object())
    assert found("vllm").state == "ok"


def test_a_missing_package_is_named(monkeypatch):
    real = importlib.metadata.version

    def version(name):
        if name == "rich":
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(doctor.importlib.metadata, "version", version)
    assert found("rich").state == "missing"
    assert "pip install" in found("rich").remedy


def answer(monkeypatch, stdout, code=0):
    monkeypatch.setattr(doctor.shutil, "which", lambda _name: "/usr/bin/nvidia-smi")
    done = subprocess.CompletedProcess([], code, stdout, "")
    monkeypatch.setattr(doctor.subprocess, "run", lambda *_, **__: done)


def test_the_gpus_are_listed(monkeypatch):
    answer(monkeypatch, "H100, 81559 MiB, 570.1\nH100, 81559 MiB, 570.1\n")
    assert doctor._gpu().value == "H100, 81559 MiB, 570.1; H100, 81559 MiB, 570.1"


def test_a_gpu_that_torch_can_not_use_is_none(monkeypatch):
    answer(monkeypatch, "H100, 81559 MiB, 535.1\n")
    monkeypatch.setattr(doctor, "_torchs_problem", lambda: "torch 2.13.0+cpu is a build for CPUs")
    gpu = doctor._gpu()
    assert gpu.state == "warning"
    assert gpu.value == "H100, 81559 MiB, 535.1, but torch 2.13.0+cpu is a build for CPUs"
    assert "driver" in gpu.remedy


@pytest.mark.parametrize(("stdout", "code"), [("", 0), ("NVIDIA-SMI has failed", 9)])
def test_a_driver_that_does_not_answer_is_no_gpu(monkeypatch, stdout, code):
    answer(monkeypatch, stdout, code)
    assert doctor._gpu().state == "warning"
    assert "--profile embedded" in doctor._gpu().remedy


def test_no_driver_is_no_gpu(monkeypatch):
    monkeypatch.setattr(doctor.machine, "has_gpu_driver", lambda: False)
    assert doctor._gpu().value == "none"


@pytest.mark.parametrize(("problem", "state"), [("", "ok"), ("torch is for CPUs", "warning")])
def test_a_driver_without_its_tool_is_asked_through_torch(monkeypatch, problem, state):
    monkeypatch.setattr(doctor.machine, "has_gpu_driver", lambda: True)
    monkeypatch.setattr(doctor.shutil, "which", lambda _name: None)
    monkeypatch.setattr(doctor, "_torchs_problem", lambda: problem)
    found = doctor._gpu()
    assert found.state == state
    assert found.value.startswith("a driver without nvidia-smi")
    assert problem in found.value


@pytest.mark.parametrize(
    ("memory", "state", "value"),
    [(2.0, "warning", "2.0 GB"), (64.0, "ok", "64.0 GB"), (None, "ok", "unknown")],
)
def test_little_memory_is_a_warning(monkeypatch, memory, state, value):
    monkeypatch.setattr(doctor, "_memory_gb", lambda: memory)
    assert (found("memory").state, found("memory").value) == (state, value)


def test_memory_that_can_not_be_told_is_unknown(monkeypatch):
    def unknown(_name):
        raise ValueError("unrecognized configuration name")

    assert doctor._memory_gb() > 0
    monkeypatch.setattr(os, "sysconf", unknown)
    assert doctor._memory_gb() is None


def test_models_and_teachers_in_the_store_are_found():
    assert found("minilm-l6").state == "warning"
    folder = paths.models() / "minilm-l6"
    teacher = paths.teachers() / "abc"
    for one in (folder, teacher):
        one.mkdir(parents=True)
        one.joinpath("config.json").touch()
    assert found("minilm-l6").state == "warning"  # of another revision, or half of it
    sizes = {"sizes": {"config.json": 0}}
    marker = packages.PACKAGED_MODELS["minilm-l6"].marker() | sizes
    folder.joinpath(packages.MARKER).write_text(json.dumps(marker))
    assert found("minilm-l6").state == "ok"
    assert found("teachers").value.startswith("1 in ")


def test_little_disk_is_a_warning(monkeypatch):
    usage = doctor.shutil.disk_usage("/")
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: usage._replace(free=10**9))
    assert found("store").state == "warning"
    assert found("store").value.startswith("1.0 GB free")
    assert "4 GB" in found("store").remedy


def test_a_driver_that_hangs_does_not_hang_the_doctor(monkeypatch):
    answer(monkeypatch, "")

    def hang(command, **options):
        raise subprocess.TimeoutExpired(command, options["timeout"])

    monkeypatch.setattr(doctor.subprocess, "run", hang)
    assert doctor._gpu().value == "the driver hangs"
