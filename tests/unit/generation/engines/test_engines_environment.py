"""What a server is told by its environment, beside what the tests of its life show."""

import pytest

from codlocal.core import machine
from codlocal.generation.engines.environment import server_environment

_PROCESSES = "VLLM_ENABLE_V1_MULTIPROCESSING"
_SMALL, _LARGE = 1_100_000_000, 3_600_000_000  # bytes of Gemma 3 270M, and of 1.5B parameters


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch):
    for name in (_PROCESSES, "VLLM_CPU_OMP_THREADS_BIND", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(machine, "cores_by_affinity", lambda: 3)


@pytest.mark.parametrize(
    ("cores", "weights", "threads"),
    [(1, _SMALL, "1"), (1, _LARGE, "1"), (2, _SMALL, "1"), (2, _LARGE, "2")],
)
def test_on_few_cores_the_engine_computes_in_its_own_process(monkeypatch, cores, weights, threads):
    monkeypatch.setattr(machine, "cores", lambda: cores)
    monkeypatch.setenv("OMP_NUM_THREADS", "8")  # meant for us
    told = server_environment("key", weights, cpu=True)
    assert told[_PROCESSES] == "0"
    assert told["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"
    assert told["OMP_NUM_THREADS"] == threads


def test_processes_and_threads_are_left_to_vllm_on_many_cores(monkeypatch):
    monkeypatch.setattr(machine, "cores", lambda: 3)
    told = server_environment("key", _LARGE, cpu=True)
    assert not {_PROCESSES, "VLLM_CPU_OMP_THREADS_BIND", "OMP_NUM_THREADS"} & told.keys()


def test_a_share_of_many_cores_is_no_more_threads_than_it_is_worth(monkeypatch):
    monkeypatch.setattr(machine, "cores", lambda: 8)
    monkeypatch.setattr(machine, "cores_by_affinity", lambda: 64)
    told = server_environment("key", _LARGE, cpu=True)
    assert told["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"
    assert told["OMP_NUM_THREADS"] == "7"
    assert _PROCESSES not in told


def test_threads_that_the_user_binds_stay_bound(monkeypatch):
    monkeypatch.setattr(machine, "cores", lambda: 2)
    monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", "0")
    assert _PROCESSES not in server_environment("key", _LARGE, cpu=True)


def test_a_gpu_server_keeps_its_processes(monkeypatch):
    monkeypatch.setattr(machine, "cores", lambda: 2)
    assert _PROCESSES not in server_environment("key", _LARGE, cpu=False)
