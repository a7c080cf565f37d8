"""The environment variables of a vLLM server: offline, and no more processes than pay."""

import os
from pathlib import Path

from codlocal.core import machine, processes

_IN_SERVER = Path(__file__).with_name("in_server")
"""The folder of `require_key`."""
_FEW_CORES = 2
_BIND = "VLLM_CPU_OMP_THREADS_BIND"
_IN_ONE_PROCESS = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
"""On few cores the engine computes in its own process.

In one more, which is what vLLM would have, it would wait for that one by spinning, on the core that
the teacher needs: a server of Gemma 3 270M started in 43 s rather than 32 and answered 3 % fewer
requests (two cores).
"""
_LARGE = 1.5e9
"""Bytes of weights from which on a server computes on all of few cores.

A smaller one leaves the teacher a core, as vLLM would. With all of them the counterfactuals of
Gemma 3 270M took a sixth less time; but a bare client, beside which no teacher computes, sent
nearly twice as many requests a second then (RESULTS.md).
"""


def server_environment(key: str, weight_bytes: int, *, cpu: bool) -> dict[str, str]:
    """Our own environment, and what a server has to know beyond its arguments.

    `weight_bytes` is the size of the model's weights. `key` is what requests must have; other
    processes can't read it here, as they can arguments.
    """
    environment = {
        **processes.without_launch(processes.without_python_paths(os.environ)),
        "VLLM_API_KEY": key,
        "PYTHONPATH": str(_IN_SERVER),
        # `python -m` would else import any file of the user's folder that has a library's name.
        "PYTHONSAFEPATH": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    # FlashInfer compiles its sampler at the start, and without a CUDA toolkit ends the server by
    # it. It can't draw with a request's seed in any case.
    environment.setdefault("VLLM_USE_FLASHINFER_SAMPLER", "0")
    if cpu:
        # Gigabytes, all taken at the start: room for 17,000 tokens or more of the packaged models.
        environment.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
        if _BIND not in environment:
            environment |= _threads(weight_bytes)
    return environment


def _threads(weight_bytes: int) -> dict[str, str]:
    """How many threads compute; nothing where that is left to vLLM, which binds them to cores.

    It knows the cores that it may run on, but not of how much of their time a container has.
    """
    cores = machine.cores()
    few = cores <= _FEW_CORES
    if not few and cores >= machine.cores_by_affinity():
        return {}
    threads = cores if few and weight_bytes > _LARGE else max(cores - 1, 1)
    return {_BIND: "nobind", "OMP_NUM_THREADS": str(threads), **(_IN_ONE_PROCESS if few else {})}
