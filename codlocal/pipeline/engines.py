"""What engines are made of: the interpreter that has vLLM, the server's settings, its address."""

import importlib.util
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from codlocal.airgap import engine
from codlocal.core import machine, paths, processes
from codlocal.core.config import Config
from codlocal.core.errors import ConfigError, EngineError

if TYPE_CHECKING:
    from codlocal.generation.engines.server import ServerSettings

KEY_VARIABLE = "CODLOCAL_SERVER_KEY"


_SERVED = "served as "


@dataclass(frozen=True)
class Served:
    """What an attached server says of its model: a name, and where it has the weights, if it does.

    The name alone may be anything: `codlocal serve` gives the same one to every model.
    """

    name: str
    root: str = ""

    @property
    def model(self) -> str:
        """What the model is, as well as it is known."""
        return self.root or self.name

    def is_other_than(self, model: str) -> bool:
        """Whether its place is none of a model of that name, in a folder or a hub's cache."""
        name, parts = Path(model).name.casefold(), Path(self.root.casefold()).parts
        # A single word that is its name, too, may be anything.
        told = len(parts) > 1 or self.root not in {"", self.name}
        return told and not any(part == name or part.endswith(f"--{name}") for part in parts)

    @property
    def identity(self) -> str:
        """What stands for the hash of the weights, which a server does not tell."""
        where = f" from {self.root}" if self.root not in ("", self.name) else ""
        return f"{_SERVED}{self.name}{where}"


def is_served(weights: str) -> bool:
    """Whether a generator's weights are known by what an attached server said of them."""
    return weights.startswith(_SERVED)


def server_settings(config: Config, model: Path, log: Path) -> "ServerSettings":
    """How to start the server for a configuration, with the memory that is free by now."""
    from codlocal.generation.engines.server import ServerSettings

    python = find_engine(config.runtime.engine_python)
    cpu, share = _is_for_cpus(python, config), None
    if not cpu and has_gpu():
        from codlocal.models.devices import free_share

        share = free_share()
    return ServerSettings(
        python=python,
        model=model,
        log=log,
        raw_prompts=config.generator.prompting == "completion",
        cpu=cpu,
        gpu_share=share,
        dtype=config.runtime.dtype,
        max_model_len=config.runtime.max_model_len,
        port=config.runtime.port,
        timeout=config.runtime.server_timeout,
        extra_arguments=config.runtime.server_arguments or (),
    )


def _is_for_cpus(python: Path, config: Config) -> bool:
    """Whether an engine computes on CPUs, which is a matter of its build where that is known."""
    built = engine.marker() if python == paths.engine_python() else None
    if built is not None:
        return bool(built["kind"] == "cpu")
    return config.runtime.device == "cpu" or not has_gpu()


def has_gpu() -> bool:
    """Whether torch can use a CUDA device; asks torch only where a driver is installed."""
    if not machine.has_gpu_driver():
        return False
    import torch

    return torch.cuda.is_available()


def why_no_gpu() -> str:
    """What stands in the way where `has_gpu` is false."""
    if not machine.has_gpu_driver():
        return "this machine shows none"
    from codlocal.models.devices import gpu_problem

    return f"there is a driver, but {gpu_problem()}"


def find_engine(chosen: str | None) -> Path:
    """The interpreter that has vLLM: the chosen one, the engine's own, or ours.

    Raises:
        EngineError: there is none.

    """
    if chosen:
        python = Path(chosen).expanduser()
        if not python.is_file():
            raise EngineError(
                f"There is no interpreter {python}.", "Give the path of a python executable."
            )
        return python
    if paths.engine_python().is_file():
        return paths.engine_python()
    if importlib.util.find_spec("vllm") is not None:
        return Path(sys.executable)
    elsewhere = os.environ.get("CODLOCAL_ENGINE")
    missing = f"in {elsewhere}, which CODLOCAL_ENGINE names" if elsewhere else "installed"
    raise EngineError(
        f"vLLM is not {missing}.",
        "Run `codlocal engine install`, name an interpreter that has it with --engine-python, "
        "or generate without it: --engine transformers.",
    )


def check_interpreter(python: Path) -> None:
    """Refuse an interpreter that has no vLLM; whether that can be imported takes long to tell.

    Raises:
        EngineError: that is so, or it can't be asked.

    """
    look = "import importlib.util, sys; sys.exit(importlib.util.find_spec('vllm') is None)"
    hint = (
        "Name an interpreter that has it with --engine-python, or leave that out and run "
        "`codlocal engine install --upgrade`."
    )
    try:
        done = subprocess.run(
            [python, "-c", look],
            capture_output=True,
            timeout=60,
            check=False,
            # As the server: a clone of vLLM in the user's folder is none.
            env={**processes.without_python_paths(os.environ), "PYTHONSAFEPATH": "1"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineError(f"{python} can't be asked whether it has vLLM: {error}.", hint) from error
    if done.returncode:
        raise EngineError(f"{python} has no vLLM.", hint)


def check_server(url: str, *, offline: bool) -> Served:
    """Ask a server what its first model is.

    Raises:
        ConfigError: the address is no http(s) URL, or leaves the machine in an offline run, or
            the key can't be sent.
        EngineError: nothing answers there, it refuses the key, or it fails.

    """
    from codlocal.generation.engines.vllm_engine import is_loopback

    root = root_of(url)
    if not _is_http(root):
        raise ConfigError(f"{url!r} is not a server address.", "Such as http://127.0.0.1:8000")
    if httpx.URL(root).userinfo:
        raise ConfigError(
            "The address of a server is kept in the run: no user or password may be in it.",
            f"Set {KEY_VARIABLE} to the server's key, and leave them out.",
        )
    if offline and not is_loopback(root):
        raise ConfigError(
            f"An offline run can't use the server at {root}.",
            "Leave out --offline, or use a server on this machine.",
        )
    return _served_model(root, server_key(), trust_env=not is_loopback(root))


def root_of(url: str) -> str:
    """A server's address without the `/v1` of its interface."""
    return url.rstrip("/").removesuffix("/v1")


def server_key() -> str:
    """The key of an attached server, from the environment.

    Raises:
        ConfigError: it can't be sent; the message does not show it.

    """
    key = os.environ.get(KEY_VARIABLE, "").strip() or "none"
    if not (key.isascii() and key.isprintable()):
        raise ConfigError(
            f"{KEY_VARIABLE} has characters that no key can have.",
            "A key is one line of letters, digits and signs, all of them ASCII: set it anew.",
        )
    return key


def _is_http(url: str) -> bool:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return False
    return parsed.scheme in {"http", "https"} and bool(parsed.host)


def _served_model(root: str, key: str, *, trust_env: bool) -> Served:
    from codlocal.generation.engines import answers, bounds

    try:
        with httpx.Client(
            headers={"Authorization": f"Bearer {key}", **bounds.HEADERS},
            event_hooks={"response": [bounds.bound]},
            timeout=30.0,
            trust_env=trust_env,
        ) as client:
            response = client.get(f"{root}/v1/models")
        if response.status_code == httpx.codes.UNAUTHORIZED:
            raise EngineError(
                f"The server at {root} refuses the key.",
                f"Set {KEY_VARIABLE} to the key that it was started with.",
            )
        if response.is_server_error:
            raise EngineError(
                f"The server at {root} can't say what it serves: it answers HTTP "
                f"{response.status_code}.",
                "Is it still starting, or is something in front of it? Its own log says more.",
            )
        response.raise_for_status()
        first = response.json()["data"][0]
        return Served(str(first["id"]), str(first.get("root") or ""))
    except bounds.BoundsError as error:
        raise answers.unusable(root, f"{error}.") from error
    except ImportError as error:
        raise EngineError(
            f"The server at {root} can't be asked: {error}",
            "A proxy of the environment can't be used: install what it needs, or unset it.",
        ) from error
    except (
        httpx.HTTPError, ValueError, LookupError, TypeError, AttributeError, RecursionError
    ) as error:  # fmt: skip
        raise EngineError(
            f"There is no OpenAI-compatible server at {root}: {error}.",
            "Is it running? `codlocal serve` starts one and prints its address.",
        ) from error


def beginning_of_sequence(model: Path) -> str:
    """The text of a model's beginning-of-sequence token; empty if it has none.

    The tokenizers of some models (Qwen2.5's) have none, though their configuration names one.

    Raises:
        ModelError: a file of the model's is damaged.

    """
    token = _settings(model, "tokenizer_config.json").get("bos_token")
    if token is None:
        number = _settings(model, "config.json").get("bos_token_id")
        added = _settings(model, "tokenizer.json").get("added_tokens") or []
        token = next((one for one in added if one.get("id") == number), "")
    return str(token.get("content", "")) if isinstance(token, dict) else str(token)


def _settings(model: Path, name: str) -> dict[str, Any]:
    from codlocal.models.locate import read_json

    return read_json(model / name) if model.joinpath(name).is_file() else {}


def thinks(model: Path) -> bool:
    """Whether a model's chat template has it think first (Qwen3), unless a request says otherwise.

    Raises:
        ModelError: the tokenizer's configuration is damaged.

    """
    from codlocal.models.locate import chat_template

    return "enable_thinking" in chat_template(model)
