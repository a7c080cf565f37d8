from pathlib import Path
from types import SimpleNamespace

import httpx
import huggingface_hub
import pytest
from huggingface_hub import constants, errors

from codlocal.core.console import Console
from codlocal.core.errors import ModelError
from codlocal.core.foreign import hub_errors
from codlocal.models import locate

WHOLE = ("config.json", "model.safetensors", "tokenizer.json")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", _no_network)
    return tmp_path / "models--org--m"


def _no_network(*_: object, **__: object) -> str:
    pytest.fail("the network was asked")


def _snapshot(repository: Path, commit: str, *names: str) -> Path:
    folder = repository / "snapshots" / commit
    folder.mkdir(parents=True)
    for name in names:
        folder.joinpath(name).write_text("{}")
    return folder


def _resolve(*, offline: bool) -> Path:
    return locate.resolve("org/m", console=Console(-1), offline=offline)


def _error(kind: type[Exception], status: int = 404) -> Exception:
    response = httpx.Response(status, request=httpx.Request("GET", "https://hub.test/org/m"))
    return kind("no\nmore", response=response)


def test_the_cached_main_branch_comes_first(cache: Path):
    main = _snapshot(cache, "aaa", *WHOLE)
    _snapshot(cache, "bbb", *WHOLE)
    cache.joinpath("refs").mkdir()
    cache.joinpath("refs/main").write_text("aaa")
    assert _resolve(offline=False) == main


def test_a_cached_snapshot_without_weights_gives_way_to_a_whole_one(cache: Path):
    _snapshot(cache, "aaa", "config.json")
    cache.joinpath("refs").mkdir()
    cache.joinpath("refs/main").write_text("aaa")
    whole = _snapshot(cache, "bbb", *WHOLE)
    assert _resolve(offline=True) == whole


def test_offline_without_a_copy_is_a_model_error(cache: Path):
    with pytest.raises(ModelError, match="not in the local hub cache"):
        _resolve(offline=True)


def test_a_download_asks_for_safetensors_and_never_for_pickles(cache: Path, monkeypatch):
    asked = {}

    def download(model_id: str, **options: object) -> str:
        asked.update(options)
        return str(_snapshot(cache, "aaa", *WHOLE))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert _resolve(offline=False).name == "aaa"
    assert not [one for one in asked["allow_patterns"] if one.endswith((".bin", ".py", ".pt"))]


def test_the_hubs_own_conversion_serves_a_model_with_pickled_weights(cache: Path, monkeypatch):
    title = "Adding `safetensors` variant of this model"
    proposals = [
        SimpleNamespace(num=1, title=title, author="mallory", is_pull_request=True),
        SimpleNamespace(num=2, title=title, author="SFconvertbot", is_pull_request=True),
    ]

    def download(model_id: str, revision: str | None, **_: object) -> str:
        names = WHOLE if revision == "refs/pr/2" else WHOLE[:1]
        return str(_snapshot(cache, (revision or "main").replace("/", "-"), *names))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.setattr(huggingface_hub, "get_repo_discussions", lambda *_, **__: proposals)
    assert _resolve(offline=False).name == "refs-pr-2"


def test_a_model_without_safetensors_is_refused(cache: Path, monkeypatch):
    folder = _snapshot(cache, "aaa", "config.json")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(folder))
    monkeypatch.setattr(huggingface_hub, "get_repo_discussions", lambda *_, **__: [])
    with pytest.raises(ModelError, match="'org/m' has no weights"):
        _resolve(offline=False)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (_error(errors.GatedRepoError, 403), "is gated"),
        (_error(errors.RepositoryNotFoundError), "There is no model 'org/m'"),
        (errors.HFValidationError("bad"), "There is no model 'org/m'"),
        (hub_errors()[0]("no route"), "could not be downloaded: no route"),
        (OSError(), "could not be downloaded: OSError"),
        (ImportError("Using SOCKS proxy"), "could not be downloaded: Using SOCKS"),
        (ValueError("Unknown scheme"), "could not be downloaded: Unknown scheme"),
    ],
)
def test_what_the_hub_refuses_becomes_advice(cache: Path, monkeypatch, error, message):
    def download(*_: object, **__: object) -> str:
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(ModelError, match=message) as caught:
        _resolve(offline=False)
    assert caught.value.hint
