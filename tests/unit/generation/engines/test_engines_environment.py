"""What a server is told by its environment, beside what the tests of its life show."""

import os

import pytest

from codlocal.generation.engines.environment import server_environment

_PROCESSES = "VLLM_ENABLE_V1_MULTIPROCESSING"


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch):
    for name in (_PROCESSES, "VLLM_CPU_OMP_THREADS_BIND"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("cores", [None, 1, 2])
def test_on_few_cores_the_engine_computes_in_its_own_process(monkeypatch, cores):
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    monkeypatch.setenv("OMP_NUM_THREADS", "8")  # meant for us
    told = server_environment("key", cpu=True)
    assert told[_PROCESSES] == "0"
    assert told["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"
    assert told["OMP_NUM_THREADS"] == "1"


def test_processes_and_threads_are_left_to_vllm_on_many_cores(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    told = server_environment("key", cpu=True)
    assert not {_PROCESSES, "VLLM_CPU_OMP_THREADS_BIND"} & told.keys()


def test_threads_that_the_user_binds_stay_bound(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", "0")
    assert _PROCESSES not in server_environment("key", cpu=True)


def test_a_gpu_server_keeps_its_processes(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert _PROCESSES not in server_environment("key", cpu=False)
