"""What a vLLM log says: the phase it is in while we wait, and why it died."""

import re
from pathlib import Path

from codlocal.core.errors import EngineError, SeedError

_TAIL_BYTES = 65536
_TAIL_LINES = 15

_PHASES = (
    ("Application startup complete", "ready"),
    ("Starting vLLM server on", "opening the port"),
    ("# GPU blocks", "reserving the KV cache"),
    ("KV cache size", "reserving the KV cache"),
    ("torch.compile", "compiling"),
    ("Loading weights took", "weights loaded"),
    ("Starting to load model", "loading the weights"),
    ("Initializing a V1 LLM engine", "starting the engine"),
    ("non-default args", "reading the settings"),
)

SEED_CRASH = "CPU Generator does not use offset"
"""What the log says of a build that can't rewind a request's random generator."""

_CAUSES = (
    (
        r"No module named '?vllm|Error while finding module specification for 'vllm",
        "that Python environment has no vLLM",
        "Run `codlocal engine install --upgrade`, or name another one with --engine-python.",
    ),
    (
        r"Failed to infer device type|No CUDA GPUs are available",
        "it finds no device of the kind that it is built for",
        "Install the other build: `codlocal engine install --cpu`, or --gpu.",
    ),
    (
        r"driver on your system is too old|driver version is insufficient",
        "the GPU's driver is too old for this vLLM",
        "Update the driver, or name the interpreter of an older vLLM with --engine-python.",
    ),
    (
        r"Could not find nvcc|nvcc: not found|directory: 'nvcc'",
        "kernels of it are to be compiled, and there is no CUDA toolkit (nvcc)",
        "Install the toolkit and set CUDA_HOME, or try other kernels: --set "
        """'runtime.server_arguments=["--attention-backend", "TRITON_ATTN"]'""",
    ),
    (
        r"[Aa]ddress already in use",
        "its port was taken",
        "Run the command again, or choose another --port.",
    ),
    (
        r"CUDA out of memory|CUDA error: out of memory|OutOfMemoryError"
        r"|less than desired GPU memory utilization",
        "the GPU has too little free memory",
        "Free the GPU, choose a smaller --generator, or lower runtime.max_model_len.",
    ),
    (
        r"No available memory for the cache blocks|than the available KV cache"
        r"|can be stored in KV cache",
        "there is too little memory beside the model",
        "Free memory, choose a smaller --generator, or lower runtime.max_model_len. On a CPU, the "
        "environment's VLLM_CPU_KVCACHE_SPACE says how many gigabytes there are beside it.",
    ),
    (
        r"MemoryError|Cannot allocate memory|std::bad_alloc|less than requested memory for kv",
        "the machine ran out of memory",
        "Free memory, choose a smaller --generator, or lower VLLM_CPU_KVCACHE_SPACE.",
    ),
    (
        # An engine core that fails by itself says so before; one that was killed says nothing.
        r"died unexpectedly \(exit code: (?:-9|None)\)"
        r"|(?s:\A(?!.*EngineCore encountered a fatal error).*EngineDeadError)",
        "the system killed one of its processes, most likely as the machine ran out of memory",
        "Free memory and run the command again: rows so far are kept. `dmesg` tells of such kills.",
    ),
    (
        r"Bfloat16 is only supported on GPUs",
        "the GPU does not know bfloat16",
        "Use another number format: --set runtime.dtype=float16.",
    ),
    (
        r"[Nn]o space left on device",
        "the disk is full",
        "Free some space and run the command again.",
    ),
    (
        r"model type `?\w+`? but Transformers does not recognize|are not supported for now",
        "this vLLM does not know the model's architecture",
        "Update it with `codlocal engine install --upgrade`, or choose another --generator.",
    ),
    (
        r"Cannot find any model weights|No safetensors|does not appear to have a file named",
        "the model directory is incomplete",
        "Check that it holds config.json, the tokenizer and *.safetensors.",
    ),
    (
        SEED_CRASH,
        "this vLLM build can't take per-request seeds",
        "Update the engine with `codlocal engine install --upgrade`, or go on without them: "
        "--set runtime.request_seeds=false",
    ),
    (
        r"derived max_model_len",
        "the model's context is shorter than runtime.max_model_len",
        "Lower it: --set runtime.max_model_len=1024.",
    ),
)


_NOISE = re.compile(
    r"nanobind: | - (leaked |\.\.\. skipped)|See https://nanobind|.*resource_tracker"
    r"|INFO: +127\.0\.0\.1:\d+ - "
)
"""Requests that were answered, and what libraries say of themselves as any process ends."""


def _recent(log: Path) -> str:
    try:
        with log.open("rb") as handle:
            size = handle.seek(0, 2)
            handle.seek(max(0, size - _TAIL_BYTES))
            return handle.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""


def tail(log: Path) -> str:
    """The last lines of a log, shortened, for an error message."""
    lines = [line.rstrip() for line in _recent(log).splitlines() if line.strip()]
    lines = [line for line in lines if not _NOISE.match(line)]
    return "\n".join("  | " + line[:300] for line in lines[-_TAIL_LINES:])


def phase(log: Path) -> str:
    """What a starting server is doing, from the newest line that tells."""
    text = _recent(log)
    found = [(text.rfind(sign), name) for sign, name in _PHASES]
    position, name = max(found)
    return name if position >= 0 else "starting Python"


def explain(log: Path, status: int) -> EngineError:
    """The error of a server that died with an exit status: its cause, and the log's tail."""
    text = _recent(log)
    unknown = (
        "it was killed" if status in (137, -9) else f"exit status {status}",
        f"The whole log is in {log}. Rows so far are kept: run the command again to go on.",
    )
    known = ((cause, hint) for pattern, cause, hint in _CAUSES if re.search(pattern, text))
    cause, hint = next(known, unknown)
    kind = SeedError if SEED_CRASH in text else EngineError
    return kind(f"The vLLM server died: {cause}.\n{tail(log)}", hint)
