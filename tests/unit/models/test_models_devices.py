import pytest
import torch

from codlocal.models.devices import device_of, dtype_of

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize("there", [True, False])
def test_auto_takes_the_gpu_where_there_is_one(monkeypatch, there: bool):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert device_of("auto") == (CUDA if there else CPU)
    assert device_of("cpu") == CPU


@pytest.mark.parametrize("supported", [True, False])
def test_auto_takes_bfloat16_on_gpus_that_have_it(monkeypatch, supported: bool):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: supported)
    assert dtype_of("auto", CUDA) == (torch.bfloat16 if supported else torch.float32)
    assert dtype_of("auto", CPU) == torch.float32
    assert dtype_of("float16", CPU) == torch.float16
