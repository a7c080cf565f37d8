"""The vLLM server: started as a process of its own, watched until healthy, always stopped.

It listens on loopback with a generated key, never sees the network, and is held by `guard.py`,
which ends its whole process group when we end, however we end.
"""

import asyncio
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from codlocal.core.console import Console, Task
from codlocal.core.errors import EngineError
from codlocal.generation.engines import causes
from codlocal.generation.engines.engine import MOST_PROPOSALS
from codlocal.generation.engines.environment import server_environment

_HOST = "127.0.0.1"
_STOP_SECONDS = 20.0
_POLL_SECONDS = 0.5
_GUARD = Path(__file__).with_name("guard.py")
_RAW_CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ message['content'] }}{% endfor %}"
)


@dataclass(frozen=True)
class ServerSettings:
    """What to serve and with which interpreter.

    `raw_prompts` gives base models, which have no chat template, one that passes text through.
    `gpu_share` is how much of a GPU's memory it takes; None leaves that to vLLM. `port` 0 picks a
    free one.
    """

    python: Path
    model: Path
    log: Path
    raw_prompts: bool
    cpu: bool
    gpu_share: float | None
    dtype: str
    max_model_len: int
    port: int
    timeout: float
    extra_arguments: tuple[str, ...]


@dataclass
class VllmServer:
    """A running server. Use `running`, which stops it in every case."""

    settings: ServerSettings
    url: str
    key: str
    process: "subprocess.Popen[bytes]" = field(repr=False)

    model_name = "generator"

    def death(self) -> EngineError | None:
        """Why the server is gone, or None while it lives."""
        if self.process.poll() is None:
            return None
        return causes.explain(self.settings.log, self.process.returncode)

    def stop(self) -> None:
        """End the whole process group, at once if it does not end by itself."""
        if self.process.stdin and not self.process.stdin.closed:
            self.process.stdin.close()
        try:
            self.process.wait(timeout=_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            _kill_group(self.process.pid)
            self.process.wait()
        # vLLM's engine core is a grandchild; when the API server died first, it may live on.
        _kill_group(self.process.pid)


@contextmanager
def running(settings: ServerSettings, console: Console) -> Iterator[VllmServer]:
    """Start a server, wait until it is healthy, and stop it when the block ends.

    Raises:
        EngineError: it died, or was not healthy in time; the message names the cause.

    """
    with _stopped_in_the_end(settings, console) as server:
        for _ in _until_healthy(server, console):
            time.sleep(_POLL_SECONDS)
        yield server


@asynccontextmanager
async def started(settings: ServerSettings, console: Console) -> AsyncIterator[VllmServer]:
    """`running` for use within an event loop, which can be cancelled while the server starts."""
    with _stopped_in_the_end(settings, console) as server:
        for _ in _until_healthy(server, console):
            await asyncio.sleep(_POLL_SECONDS)
        yield server


@contextmanager
def _stopped_in_the_end(settings: ServerSettings, console: Console) -> Iterator[VllmServer]:
    server = _start(settings)
    try:
        yield server
    except (KeyboardInterrupt, asyncio.CancelledError):
        console.info("Stopping the vLLM server")  # which takes a while, above all while it starts
        raise
    finally:
        server.stop()


def _start(settings: ServerSettings) -> VllmServer:
    port = settings.port or _free_port()
    if settings.port and not _is_free(settings.port):
        raise EngineError(
            f"Port {port} on {_HOST} is in use.",
            "Choose another --port, leave it out for a free one, or attach to the server that "
            "runs there with --server-url.",
        )
    key = secrets.token_urlsafe(24)
    weight_bytes = sum(one.stat().st_size for one in settings.model.glob("*.safetensors"))
    settings.log.parent.mkdir(parents=True, exist_ok=True)
    with settings.log.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, str(_GUARD), *_command(settings, port)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=server_environment(key, weight_bytes, cpu=settings.cpu),
            start_new_session=True,
        )
    return VllmServer(settings, f"http://{_HOST}:{port}", key, process)


def _command(settings: ServerSettings, port: int) -> list[str]:
    command = [
        str(settings.python), "-m", "vllm.entrypoints.openai.api_server",
        "--model", str(settings.model),
        "--served-model-name", VllmServer.model_name,
        "--host", _HOST,
        "--port", str(port),
        "--dtype", settings.dtype,
        "--max-model-len", str(settings.max_model_len),
        "--max-logprobs", str(MOST_PROPOSALS),
        "--middleware", "require_key.RequireKey",
    ]  # fmt: skip
    if settings.cpu:
        # Compiling takes minutes on a CPU and gains nothing for small models. Chunked prefill
        # rewinds a request's random generator, which CPU generators can't do: with it on, a
        # per-request seed ends the whole engine.
        command += ["--enforce-eager", "--no-enable-chunked-prefill"]
    if settings.gpu_share is not None:
        command += ["--gpu-memory-utilization", str(settings.gpu_share)]
    if settings.raw_prompts:
        command += ["--chat-template", _RAW_CHAT_TEMPLATE]
    return [*command, *settings.extra_arguments]


def _until_healthy(server: VllmServer, console: Console) -> Iterator[None]:
    """Yield as long as the server is starting; whoever asks waits in between."""
    begun = time.monotonic()
    with (
        console.progress("Starting the vLLM server", None) as task,
        httpx.Client(timeout=2.0, trust_env=False) as client,
    ):
        while not _healthy(client, server.url):
            death = server.death()
            if death is not None:
                raise death
            waited = time.monotonic() - begun
            if waited > server.settings.timeout:
                raise EngineError(
                    f"The vLLM server was not ready after {waited:.0f} s.\n"
                    + causes.tail(server.settings.log),
                    "Allow more time with --set runtime.server_timeout=SECONDS.",
                )
            _show(task, server.settings.log, waited)
            yield
    console.detail(
        f"Server ready after {time.monotonic() - begun:.0f} s; log: {server.settings.log}"
    )


def _show(task: Task, log: Path, waited: float) -> None:
    task.note(waited=f"{waited:.0f} s", state=causes.phase(log))


def _healthy(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(f"{url}/health").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError:
            return False
        return True


def _kill_group(group: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
