"""The engine of a run: the run's own store first, then what its settings name.

That is our own vLLM server, one that runs already, a model in this process, or the store of
another run. None of them is started before a request needs it.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

from codlocal.core.config import Config
from codlocal.core.console import Console
from codlocal.core.errors import RunError
from codlocal.core.jsonl import last_row, read_rows
from codlocal.core.records import Original
from codlocal.core.run import RunFolder
from codlocal.generation.engines import canary
from codlocal.generation.engines.engine import Engine
from codlocal.generation.engines.lazy import LazyEngine, OpenEngine
from codlocal.generation.engines.recording import STORE, Exchange, Generator, Recorder, store_at
from codlocal.generation.engines.replay import Replay, recorded_generator
from codlocal.generation.engines.server import started
from codlocal.generation.engines.vllm_engine import VllmEngine
from codlocal.models import locate
from codlocal.models.folders import model_hash
from codlocal.pipeline import engines
from codlocal.pipeline.replays import differences, store_of


@contextmanager
def open_engine(run: RunFolder, console: Console) -> Iterator[Engine]:
    """The run's engine, which keeps all answers in the run folder.

    The manifest says who answers, and how many requests no store could answer, in all sessions.

    Raises:
        ConfigError: a setting of the engine can't be used.
        EngineError: it can't be reached, or the run to be replayed is of another generator.
        ModelError: the generator model can't be had.
        RunError: a store is damaged, or the run began with another server.

    """
    opened = _replay(run) if run.config.runtime.replay else _live(run, console)
    with opened as (inner, generator), store_at(run.file(STORE)) as store:
        engine = Recorder(inner, store, generator, run.config.runtime.concurrency)
        try:
            yield engine
        finally:
            asked = 0 if run.config.runtime.replay else engine.asked
            known = run.facts("generate").get("requests_asked", 0)
            run.note("generate", requests_asked=known + asked)


def check_same_generator(run: RunFolder) -> None:
    """Refuse a server that would answer a run of another generator, before the teacher is asked.

    Raises:
        ConfigError: its address can't be used.
        EngineError: it can't be asked.
        RunError: the run began with another generator, or its store is damaged.

    """
    url = run.config.runtime.server_url
    if url and not run.config.runtime.replay:
        served = engines.check_server(url, offline=run.config.runtime.offline)
        _refuse_another(run, _generator(run.config, served.identity))


@contextmanager
def _replay(run: RunFolder) -> Iterator[tuple[Engine, Generator]]:
    path = store_of(run.config.runtime.replay or "")
    generator = recorded_generator(path, _generator(run.config, ""))
    _refuse_another(run, generator)
    run.note("generate", model=run.config.generator.model, replay=str(path))
    with store_at(path) as store:
        yield Replay(path, store, generator, partial(differences, run, path.parent)), generator


def scorer(run: RunFolder, console: Console) -> Engine:
    """The generator of a finished run, to score texts: its answers are not kept.

    Of a run that was replayed it is the one that was recorded. The caller closes it.

    Raises:
        ConfigError: a setting of the engine can't be used.
        EngineError: it can't be reached.
        ModelError: the generator model can't be had.
        RunError: the store is damaged, or has the replies of another generator.

    """
    _, generator, work = _source(run, console)
    known = _last_asked(run)
    if known is not None and known != generator:
        raise RunError(
            f"The run {run.path} has the replies of the generator "
            f"{_told(known.weights)}; this one is {_told(generator.weights)}.",
            "Perplexities of two generators can't be compared. Put back the model that it was, or "
            "name its server with --server-url.",
        )
    return LazyEngine(work, seeds=run.config.runtime.request_seeds)


def _source(run: RunFolder, console: Console) -> tuple[str, Generator, OpenEngine]:
    """What the settings name: its name, who answers there, and how to open it."""
    runtime = run.config.runtime
    if runtime.server_url:
        served = engines.check_server(runtime.server_url, offline=runtime.offline)
        if served.is_other_than(run.config.generator.model):
            console.warn(
                f"The server at {runtime.server_url} serves {served.model}, and the run's "
                f"settings and replies will say {run.config.generator.model}. If that is another "
                "model, name the server's with --generator."
            )
        work = partial(_attached, run.config, served.name)
        return served.model, _generator(run.config, served.identity), work
    name = run.config.generator.model
    model = locate.resolve(name, console=console, offline=runtime.offline)
    in_process = run.config.generator.engine == "transformers"
    work = partial(_in_process if in_process else _own_server, run, model, console)
    return name, _generator(run.config, model_hash(model)), work


@contextmanager
def _live(run: RunFolder, console: Console) -> Iterator[tuple[Engine, Generator]]:
    name, generator, work = _source(run, console)
    _refuse_another(run, generator)
    run.note("generate", model=name)
    engine = LazyEngine(work, seeds=run.config.runtime.request_seeds)
    try:
        yield engine, generator
    finally:
        if not engine.seeds:
            run.note("generate", request_seeds=False)


def _refuse_another(run: RunFolder, generator: Generator) -> None:
    """The scores and replies of two models are never mixed.

    Where both are models of ours and no original has its score yet, there is nothing to be mixed:
    their replies are told apart by the hash.
    """
    known = _last_asked(run)
    if known is None or known == generator or not known.is_like(generator):
        return
    began, now = known.weights, generator.weights
    scored = next(read_rows(run.file("originals.jsonl"), Original), None) is not None
    if scored or engines.is_served(began) or engines.is_served(now):
        raise RunError(
            f"The run {run.path} began with the generator {_told(began)}; "
            f"this one is {_told(now)}.",
            f"{_way_on(began, now)}, choose another --run, or add --redo generate to set its "
            "replies aside.",
        )


def _way_on(began: str, now: str) -> str:
    """What lets a run go on; a server tells no weights, so it is never taken for a model's own."""
    if engines.is_served(began) and not engines.is_served(now):
        return (
            "A server names its model but not the weights, so the same model without it counts as "
            "another: go on with a server that names it so (--server-url)"
        )
    if engines.is_served(now) and not engines.is_served(began):
        return (
            "A server names its model but not the weights, so the same model on it counts as "
            "another: go on without --server-url"
        )
    return "Go on with the generator that it began with"


def _last_asked(run: RunFolder) -> Generator | None:
    """The generator of a run: the last one, as others may have come before the first score."""
    last = last_row(run.file(STORE), Exchange)
    return None if last is None else last.generator


def _told(weights: str) -> str:
    return weights if engines.is_served(weights) else f"with the hash {weights[:12]}"


def _generator(config: Config, weights: str) -> Generator:
    settings = config.generator
    name = Path(settings.model).name
    return Generator(
        name=name, engine=settings.engine, prompting=settings.prompting, weights=weights
    )


@asynccontextmanager
async def _own_server(
    run: RunFolder, model: Path, console: Console, seeds: bool
) -> AsyncIterator[Engine]:
    if run.config.runtime.request_seeds and not seeds:
        console.warn(
            "This vLLM build dies of a request's seed. The server is started once more and gets "
            "none: the replies can be replayed, but another run's will differ."
        )
    settings = engines.server_settings(run.config, model, run.file("server.log"))
    async with started(settings, console) as server:
        engine = VllmEngine(
            server.url,
            server.key,
            server.model_name,
            scoring_prefix=engines.beginning_of_sequence(model),
            seeds=seeds,
            thinks=not settings.raw_prompts and engines.thinks(model),
            explain_death=server.death,
        )
        async with _trusted(engine):
            yield engine


@asynccontextmanager
async def _attached(config: Config, served: str, seeds: bool) -> AsyncIterator[Engine]:
    place = (engines.root_of(config.runtime.server_url or ""), engines.server_key(), served)
    engine = VllmEngine(*place, seeds=seeds, scoring_prefix=await _first_context(*place))
    async with _trusted(engine):
        yield engine


async def _first_context(url: str, key: str, served: str) -> str:
    """What gives the first word of a text a context, where a server's tokenizer gives it none."""
    engine = VllmEngine(url, key, served)
    try:
        scored = (await engine.score("a")).tokens
    finally:
        await engine.aclose()
    return "" if scored else "\n"


@asynccontextmanager
async def _in_process(
    run: RunFolder, model: Path, _console: Console, _seeds: bool
) -> AsyncIterator[Engine]:
    from codlocal.generation.engines.transformers_engine import TransformersEngine
    from codlocal.models.devices import device_of, dtype_of

    device = device_of(run.config.runtime.device)
    engine = TransformersEngine.load(
        model,
        device=device,
        dtype=dtype_of(run.config.runtime.dtype, device),
        raw_prompts=run.config.generator.prompting == "completion",
        max_length=run.config.runtime.max_model_len,
    )
    async with _trusted(engine):
        yield engine


@asynccontextmanager
async def _trusted(engine: Engine) -> AsyncIterator[None]:
    """Hold an engine, which has shown first that it obeys constraints, and close it."""
    try:
        await canary.check(engine)
        yield
    finally:
        await engine.aclose()
