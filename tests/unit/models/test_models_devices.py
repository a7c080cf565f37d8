import pytest
import torch

from codlocal.models.devices import device_of, dtype_of, free_share, gpu_problem

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize("there", [True, False])
def test_auto_takes_the_gpu_where_there_is_one(monkeypatch, there: bool):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert device_of("auto") == (CUDA if there else CPU)
    assert device_of("cpu") == CPU


@pytest.mark.parametrize("supported", [True, False])
def test_auto_takes_bfloat16_on_gpus_that_have_it(monkeypatch, supported: bool):
    def asked(*, including_emulation: bool) -> bool:
        return supported or including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", asked)
    assert dtype_of("auto", CUDA) == (torch.bfloat16 if supported else torch.float32)
    assert dtype_of("auto", CPU) == torch.float32
    assert dtype_of("float16", CPU) == torch.float16


@pytest.mark.parametrize(
    ("free", "total", "share"),
    [(22.5, 23.5, 0.829), (14.0, 23.5, 0.468), (79.0, 79.2, 0.9), (2.0, 23.5, 0.01)],
)
def test_a_server_takes_what_is_free_but_for_the_teachers_room(monkeypatch, free, total, share):
    done = []

    def ask():
        done.append("asked")
        return int(free * 2**30), int(total * 2**30)

    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: done.append("given back"))
    monkeypatch.setattr(torch.cuda, "mem_get_info", ask)
    assert free_share() == share
    assert done == ["given back", "asked"]


@pytest.mark.parametrize(
    ("there", "build", "said"),
    [(True, "13.0", ""), (False, None, "build for CPUs"), (False, "13.0", "made for CUDA 13.0")],
)
def test_why_torch_does_not_use_a_gpu(monkeypatch, there, build, said):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    monkeypatch.setattr(torch.version, "cuda", build)
    found = gpu_problem()
    assert said in found if said else not found
