import pytest

from codlocal.core.errors import SeedError
from codlocal.generation.engines import causes

# Shortened from logs of vLLM 0.12 to 0.33.
LOGS = {
    "that Python environment has no vLLM": (
        "/usr/bin/python3: Error while finding module specification for "
        "'vllm.entrypoints.openai.api_server' (ModuleNotFoundError: No module named 'vllm')"
    ),
    "its port was taken": (
        "OSError: [Errno 98] error while attempting to bind on address ('127.0.0.1', 8000): "
        "address already in use"
    ),
    "the GPU has too little free memory": (
        "(EngineCore_0) torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.02 GiB. "
        "GPU 0 has a total capacity of 23.64 GiB of which 512.00 MiB is free."
    ),
    "the machine ran out of memory": "OSError: [Errno 12] Cannot allocate memory",
    "the disk is full": "OSError: [Errno 28] No space left on device: '/root/.cache/vllm'",
    "this vLLM does not know the model's architecture": (
        "ValueError: The checkpoint you are trying to load has model type `qwen9` but Transformers "
        "does not recognize this architecture."
    ),
    "the model directory is incomplete": (
        "RuntimeError: Cannot find any model weights with `/models/gemma`"
    ),
    "this vLLM build can't take per-request seeds": (
        "(EngineCore_0) RuntimeError: CPU Generator does not use offset"
    ),
    "the model's context is shorter than runtime.max_model_len": (
        "ValueError: User-specified max_model_len (2048) is greater than the derived max_model_len "
        "(max_position_embeddings=1024.0). To allow overriding this maximum, set the env var"
    ),
}
MORE = [
    ("ValueError: No available memory for the cache blocks. Try increasing", "beside the model"),
    ("ValueError: To serve at least one request with the model's max seq len (2048), (0.11 GiB KV "
     "cache is needed, which is larger than the available KV cache memory (0.03 GiB). Based on the "
     "available memory", "beside the model"),
    ("ValueError: Available memory on node 0 (1.1/7.7 GiB) on kv cache allocation is less than "
     "requested memory for kv (2.0 GiB).", "machine ran out of memory"),
    ("torch.AcceleratorError: CUDA error: out of memory", "GPU has too little"),
    ("RuntimeError: Could not find nvcc and default cuda_home='/usr/local/cuda' doesn't exist",
     "no CUDA toolkit"),
    ("RuntimeError: Failed to infer device type, please set the environment variable", "no device"),
    ("RuntimeError: The NVIDIA driver on your system is too old (found version 12020). Please "
     "update your GPU driver", "driver is too old"),
    ("ValueError: Bfloat16 is only supported on GPUs with compute capability of at least 8.0. "
     "Your Tesla V100 GPU has compute capability 7.0.", "bfloat16"),
    ("ValueError: Free memory on device (1.2/23.6 GiB) on startup is less than desired GPU memory "
     "utilization (0.9, 21.3 GiB)", "GPU has too little"),
    ("(EngineCore pid=8201) ERROR 11-28 13:40:41 [multiproc_executor.py:315] Worker proc "
     "VllmWorker-0 died unexpectedly (exit code: -9), shutting down", "the system killed"),
    ("(APIServer pid=25041) ERROR 11-28 14:35:46 [async_llm.py:906] vllm.v1.engine.exceptions."
     "EngineDeadError: EngineCore encountered an issue.", "the system killed"),
    ("terminate called after throwing an instance of 'std::bad_alloc'", "ran out of memory"),
    ("ValueError: Model architectures ['Foo'] are not supported for now.", "architecture"),
    ("OSError: /m does not appear to have a file named config.json.", "incomplete"),
    ("ValueError: The model's max seq len (8192) is larger than the maximum number of tokens that "
     "can be stored in KV cache", "beside the model"),
]  # fmt: skip
PREFIX = "INFO 11-24 23:00:00 [__init__.py:216] Automatically detected platform cpu.\n"


@pytest.mark.parametrize(("sign", "cause"), [(log, why) for why, log in LOGS.items()] + MORE)
def test_a_log_names_the_cause(tmp_path, sign, cause):
    log = tmp_path / "server.log"
    log.write_text(PREFIX * 3 + "Traceback (most recent call last):\n" + sign + "\n\n")
    error = causes.explain(log, 1)
    assert cause in error.message.splitlines()[0]
    assert error.hint
    assert sign[:290] in error.message
    assert error.exit_code == 3
    assert isinstance(error, SeedError) == ("seeds" in cause)


def test_an_engine_core_that_failed_by_itself_was_not_killed(tmp_path):
    log = tmp_path / "server.log"
    log.write_text(
        "ERROR [core.py:1512] EngineCore encountered a fatal error.\nValueError: of some kind\n"
        "vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue.\n"
    )
    assert "exit status 0" in causes.explain(log, 0).message


@pytest.mark.parametrize(
    ("status", "said"), [(137, "it was killed"), (-9, "it was killed"), (3, "exit status 3")]
)
def test_an_unknown_cause_says_how_it_ended_and_where_the_log_is(tmp_path, status, said):
    log = tmp_path / "server.log"
    log.write_text("all well\n")
    error = causes.explain(log, status)
    assert said in error.message
    assert str(log) in error.hint


def test_the_tail_is_short_and_without_blank_lines(tmp_path):
    log = tmp_path / "server.log"
    log.write_text("\n\n".join(f"line {at} " + "x" * 500 for at in range(1000)))
    lines = causes.tail(log).splitlines()
    assert len(lines) == 15
    assert lines[-1].startswith("  | line 999 xxx")
    assert max(len(line) for line in lines) == 304


def test_the_tail_is_without_answered_requests_and_what_libraries_say_at_their_end(tmp_path):
    log = tmp_path / "server.log"
    log.write_text(
        "RuntimeError: Executor failed.\nnanobind: leaked 64 types!\n"
        ' - leaked type "triton._C.libtriton.ir.block"\n - ... skipped remainder\n'
        "See https://nanobind.readthedocs.io/refleaks.html/usr/lib/resource_tracker.py:254: "
        "UserWarning: resource_tracker: There appear to be 1 leaked semaphore objects\n"
        "  warnings.warn('resource_tracker: There appear to be %d '\n"
        'INFO:     127.0.0.1:50204 - "POST /v1/chat/completions HTTP/1.1" 200 OK\n'
    )
    assert causes.tail(log) == "  | RuntimeError: Executor failed."


def test_a_log_that_is_not_there_or_not_text_is_no_second_error(tmp_path):
    assert causes.tail(tmp_path / "none.log") == ""
    assert causes.phase(tmp_path / "none.log") == "starting Python"
    log = tmp_path / "server.log"
    log.write_bytes(b"\xff\xfe\x00 binary\n")
    assert "binary" in causes.explain(log, 1).message


def test_the_phase_is_that_of_the_newest_telling_line(tmp_path):
    log = tmp_path / "server.log"
    seen = []
    with log.open("w") as handle:
        for line in (
            "INFO non-default args: {'port': 1}",
            "INFO [core.py:77] Initializing a V1 LLM engine (v0.32.0) with config: model='/m'",
            "INFO Starting to load model /m...",
            "something that tells nothing",
            "INFO Loading weights took 1.20 seconds",
            "INFO # GPU blocks: 1000, # CPU blocks: 0",
            "INFO Starting vLLM server on http://127.0.0.1:1",
            "INFO:     Application startup complete.",
        ):
            handle.write(line + "\n")
            handle.flush()
            seen.append(causes.phase(log))
    assert list(dict.fromkeys(seen)) == [
        "reading the settings", "starting the engine", "loading the weights", "weights loaded",
        "reserving the KV cache", "opening the port", "ready",
    ]  # fmt: skip
