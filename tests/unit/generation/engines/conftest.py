import pytest
from fake_server import openai_server

from codlocal.generation.engines import vllm_engine


@pytest.fixture(autouse=True)
def no_retries(monkeypatch):
    monkeypatch.setattr(vllm_engine, "_RETRIES", 0)


@pytest.fixture
def server():
    with openai_server() as running:
        yield running
