import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest
from fake_server import openai_server
from fakes import FakeEngine, score_of

from codlocal.core.config import resolve
from codlocal.core.console import Console
from codlocal.core.errors import ConfigError, EngineError, RunError, SeedError
from codlocal.core.jsonl import write_rows
from codlocal.core.records import Original
from codlocal.core.run import RunFolder
from codlocal.generation.engines.engine import Request, Sampling
from codlocal.generation.engines.recording import STORE
from codlocal.generation.engines.vllm_engine import VllmEngine
from codlocal.models import locate
from codlocal.pipeline import engines, opening, preflight

QUIET = Console(-1)
REQUEST = Request("1/0", "Fill in: ___", r'\{"text": "so (good|bad)"\}', 2, 7, Sampling())


@pytest.fixture
def server(monkeypatch):
    with openai_server() as running:
        monkeypatch.setenv(engines.KEY_VARIABLE, running.key)
        yield running


def settings(**runtime):
    return resolve([{"generator": {"model": "models/gemma"}}, {"runtime": runtime}])


def ask(path, config, request=REQUEST):
    """The engine's answer to a request in a run's generate stage, and what the manifest says."""

    async def work(engine):
        try:
            return await engine.generate(request)
        finally:
            await engine.aclose()

    with RunFolder.open(path, config) as run:
        with run.stage("generate"), opening.open_engine(run, QUIET) as engine:
            replies = asyncio.run(work(engine))
        return replies, run.facts("generate")


def canaries(server):
    return sum(path == "/v1/chat/completions" for path in server.paths)


def test_a_running_server_is_asked_once(server, tmp_path):
    config = settings(server_url=server.url)
    replies, facts = ask(tmp_path, config)
    assert facts == {"model": "fake-model", "requests_asked": 1}
    asked = canaries(server)
    assert asked == 2  # one of them by the canary
    assert ask(tmp_path, config) == (replies, facts)
    assert canaries(server) == asked


def test_a_server_that_serves_another_model_by_the_same_name_does_not_go_on(server, tmp_path):
    server.root = "/models/gemma"
    config = settings(server_url=server.url)
    replies, facts = ask(tmp_path / "run", config)
    assert facts["model"] == "/models/gemma"
    server.root = "/models/smollm2"
    for request in (REQUEST, replace(REQUEST, seed=8)):
        with pytest.raises(RunError, match=r"/models/gemma.*/models/smollm2") as caught:
            ask(tmp_path / "run", config, request)
    assert caught.value.exit_code == 1
    assert "--redo generate" in caught.value.hint
    with pytest.raises(RunError, match=r"/models/gemma.*/models/smollm2"):
        opening.check_same_generator(RunFolder(tmp_path / "run", config))
    assert ask(tmp_path / "new", config)[1]["model"] == "/models/smollm2"
    server.root = "/models/gemma"
    opening.check_same_generator(RunFolder(tmp_path / "run", config))
    assert ask(tmp_path / "run", config) == (replies, facts)


def test_an_engine_that_ignores_constraints_is_refused_before_anything_is_written(server, tmp_path):
    server.obeys = False
    with pytest.raises(EngineError, match="ignores constraints"):
        ask(tmp_path, settings(server_url=server.url))
    assert not tmp_path.joinpath(STORE).exists()


def test_an_address_with_a_password_is_refused(server, tmp_path):
    place = server.url.replace("://", "://me:s3cret@")
    with pytest.raises(ConfigError, match="no user or password") as caught:
        ask(tmp_path, settings(server_url=place))
    assert "s3cret" not in caught.value.message + caught.value.hint


def test_a_running_server_gets_no_seeds_if_told_so(server, tmp_path):
    ask(tmp_path, settings(server_url=server.url, request_seeds=False))
    assert {payload.get("seed") for payload in server.payloads} == {None}


@pytest.mark.parametrize(("tokens", "prefix"), [(0, "\n"), (1, "")])
def test_a_running_server_gives_first_words_a_context(
    server, tmp_path, monkeypatch, tokens, prefix
):
    made = []

    class Client(VllmEngine):
        def __init__(self, *place, **more):
            made.append(more)
            super().__init__(*place, **more)

        async def score(self, text):
            return (await super().score(text)).model_copy(update={"tokens": tokens})

    monkeypatch.setattr(opening, "VllmEngine", Client)
    ask(tmp_path, settings(server_url=server.url))
    assert [one.get("scoring_prefix") for one in made] == [None, prefix]


def test_another_run_is_replayed_without_a_model_and_can_be_replayed_itself(server, tmp_path):
    replies, _ = ask(tmp_path / "theirs", settings(server_url=server.url))
    places = ("theirs", "theirs/replies.jsonl", "run0", "run1/replies.jsonl")
    for number, place in enumerate(places):
        config = settings(replay=str(tmp_path / place))
        preflight.check_engine(config)
        assert ask(tmp_path / f"run{number}", config) == (
            replies,
            {
                "model": "models/gemma",
                "requests_asked": 0,
                "replay": str(store(tmp_path / place)),
            },
        )


def store(place):
    return place if place.suffix else place / STORE


def test_a_miss_names_the_settings_that_differ(server, tmp_path):
    ask(tmp_path / "theirs", settings(server_url=server.url))
    other = {"generator": {"model": "gemma", "temperature": 0.1}, "dataset": {"k": 8}}
    config = resolve([other, {"runtime": {"replay": str(tmp_path / "theirs")}}])
    changed = Request("1/0", "?", "x", 2, 7, Sampling(temperature=0.1))
    with pytest.raises(EngineError, match="no answer") as caught:
        ask(tmp_path / "ours", config, changed)
    for line in (
        "dataset.k: 32 -> 8",
        "generator.temperature: 0.7 -> 0.1",
        "temperature 0.1, recorded: 0.7",
        "the prompt was never asked",
    ):
        assert line in caught.value.message


def test_a_miss_in_a_run_of_another_version_names_its_settings_too(server, tmp_path):
    ask(tmp_path / "theirs", settings(server_url=server.url))
    saved = tmp_path / "theirs" / "run.toml"
    saved.write_text(saved.read_text().replace("[generator]", "[generator]\nbeams = 3"))
    changed = Request("1/0", "?", "x", 2, 7, Sampling())
    with pytest.raises(EngineError, match="no answer") as caught:
        ask(tmp_path / "ours", settings(replay=str(tmp_path / "theirs")), changed)
    assert "generator.beams: 3 -> None" in caught.value.message


@pytest.mark.parametrize("place", ["nowhere", "."])
def test_nothing_to_replay_is_found_out_at_once(tmp_path, place):
    config = settings(replay=str(tmp_path / place))
    with pytest.raises(ConfigError, match="no recorded replies"):
        preflight.check_engine(config)


@pytest.fixture
def model(tmp_path, monkeypatch):
    folder = tmp_path / "gemma"
    folder.mkdir()
    folder.joinpath("config.json").write_text("{}")
    folder.joinpath("tokenizer_config.json").write_text('{"bos_token": "<bos>"}')
    monkeypatch.setattr(locate, "resolve", lambda _name, **_more: folder)
    return folder


class Started:
    url, key, model_name = "http://127.0.0.1:1", "the key", "generator"

    def death(self):
        return EngineError("it died")


class Running(list):
    """Stands for `server.started`; remembers the settings, and when a server was stopped."""

    @asynccontextmanager
    async def __call__(self, settings, _console):
        self.append(settings)
        yield Started()
        self.append("stopped")


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Stands for our own server and its client, which dies of seeds if `fragile`."""
    found = SimpleNamespace(servers=Running(), clients=[], fragile=False)

    class Client(FakeEngine):
        def __init__(self, *place, **more):
            super().__init__()
            found.clients.append((place, more))
            self.dies = more.get("seeds") and found.fragile

        async def generate(self, request):
            if self.dies and not request.id.startswith("canary"):
                raise SeedError("it died of a seed")
            return await super().generate(request)

    monkeypatch.setattr(opening, "started", found.servers)
    monkeypatch.setattr(opening, "VllmEngine", Client)
    python = tmp_path / "python"
    python.touch()
    found.config = settings(engine_python=str(python), device="cpu")
    return found


def test_our_own_server_is_started_with_the_resolved_model(tmp_path, model, own):
    ask(tmp_path / "run", own.config)
    begun, ended = own.servers
    assert (begun.model, begun.log) == (model, tmp_path / "run" / "server.log")
    assert ended == "stopped"
    [(place, more)] = own.clients
    assert place == (Started.url, Started.key, Started.model_name)
    assert (more["scoring_prefix"], more["seeds"]) == ("<bos>", True)
    assert more["explain_death"]().message == "it died"


def test_our_own_server_is_not_started_for_what_is_known(tmp_path, model, own):
    replies, _ = ask(tmp_path / "run", own.config)
    assert ask(tmp_path / "run", own.config)[0] == replies
    assert len(own.servers) == 2


def test_other_weights_under_the_same_name_are_asked_anew(tmp_path, model, own):
    ask(tmp_path / "run", own.config)
    model.joinpath("config.json").write_text('{"another": 1}')
    assert ask(tmp_path / "run", own.config)[1]["requests_asked"] == 2
    assert len(own.servers) == 4


def test_a_replay_of_a_run_that_went_on_with_other_weights_has_their_replies(tmp_path, model, own):
    ask(tmp_path / "theirs", own.config, replace(REQUEST, seed=99))
    model.joinpath("config.json").write_text('{"another": 1}')
    replies, _ = ask(tmp_path / "theirs", own.config)
    assert ask(tmp_path / "ours", settings(replay=str(tmp_path / "theirs")))[0] == replies


def test_other_weights_do_not_go_on_once_an_original_is_scored(tmp_path, model, own):
    ask(tmp_path / "run", own.config)
    model.joinpath("config.json").write_text('{"another": 1}')
    ask(tmp_path / "run", own.config)
    row = Original(example_id="1", probabilities=(0, 1), label=1)
    write_rows(tmp_path / "run" / "originals.jsonl", [row])
    ask(tmp_path / "run", own.config)
    assert scores(tmp_path / "run", own.config) == score_of("So good.")
    model.joinpath("config.json").write_text("{}")
    ask(tmp_path / "first", own.config)
    for config in (own.config, settings(replay=str(tmp_path / "first"))):
        with pytest.raises(RunError, match="began with the generator with the hash") as caught:
            ask(tmp_path / "run", config)
        assert "--redo generate" in caught.value.hint


def test_replies_of_our_own_server_and_of_another_are_not_mixed(tmp_path, model, own, server):
    ask(tmp_path / "own", own.config)
    attached = settings(server_url=server.url)
    ask(tmp_path / "attached", attached)
    for folder, other, way_on in (
        ("own", attached, "go on without --server-url"),
        ("attached", own.config, "go on with a server that names it so (--server-url)"),
    ):
        with pytest.raises(RunError, match="began with the generator") as caught:
            ask(tmp_path / folder, other)
        assert way_on in caught.value.hint


def test_a_server_that_dies_of_seeds_is_started_once_more_without(tmp_path, model, own, capsys):
    own.fragile = True
    _, facts = ask(tmp_path / "run", own.config)
    assert facts == {"model": "models/gemma", "requests_asked": 1, "request_seeds": False}
    assert [more["seeds"] for _, more in own.clients] == [True, False]
    assert len(own.servers) == 4
    assert "dies of a request's seed" in " ".join(capsys.readouterr().err.split())


def scores(path, config):
    async def work(engine):
        try:
            return await engine.score("So good.")
        finally:
            await engine.aclose()

    return asyncio.run(work(opening.scorer(RunFolder(path, config), QUIET)))


def test_the_generator_of_a_run_scores_texts_and_leaves_no_trace(tmp_path, model, own):
    ask(tmp_path / "run", own.config)
    before = {one: one.read_bytes() for one in (tmp_path / "run").iterdir()}
    assert scores(tmp_path / "run", own.config) == score_of("So good.")
    assert own.servers[2:] == [own.servers[0], "stopped"]
    assert {one: one.read_bytes() for one in (tmp_path / "run").iterdir()} == before


def test_the_generator_that_a_replayed_run_was_recorded_with_scores_its_texts(tmp_path, model, own):
    ask(tmp_path / "theirs", own.config)
    ask(tmp_path / "ours", settings(replay=str(tmp_path / "theirs")))
    assert scores(tmp_path / "ours", own.config) == score_of("So good.")


def test_another_generator_than_the_runs_scores_nothing(tmp_path, model, own):
    ask(tmp_path / "run", own.config)
    model.joinpath("config.json").write_text('{"another": 1}')
    with pytest.raises(RunError, match="has the replies of the generator with the hash") as caught:
        scores(tmp_path / "run", own.config)
    assert "Put back the model" in caught.value.hint
    assert len(own.servers) == 2
