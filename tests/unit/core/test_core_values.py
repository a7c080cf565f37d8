import hashlib
from pathlib import Path

import pytest
from pydantic import ValidationError

from codlocal.core import errors, hashing, paths
from codlocal.core.records import Example, FewShotSplit


def test_rows_are_frozen_and_strict_about_fields():
    example = Example(id="a", text="t", label=0)
    with pytest.raises(ValidationError):
        example.label = 1
    with pytest.raises(ValidationError):
        Example(id="a", text="t", label=0, note="more")
    assert FewShotSplit.model_validate_json('{"seed": 1, "ids": ["a"]}').ids == ("a",)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("ConfigError", 1),
        ("DataError", 1),
        ("ModelError", 1),
        ("RunError", 1),
        ("EngineError", 3),
        ("DeviceError", 3),
        ("QualityError", 4),
    ],
)
def test_every_error_has_its_exit_code_and_carries_a_hint(name, code):
    error = getattr(errors, name)("what", "do this")
    assert isinstance(error, errors.CodlocalError)
    assert (error.exit_code, error.message, error.hint, str(error)) == (
        code,
        "what",
        "do this",
        "what",
    )


def test_value_hashes_ignore_the_order_of_keys():
    assert hashing.of_value({"a": 1, "b": "ü"}) == hashing.of_value({"b": "ü", "a": 1})
    assert hashing.of_value([1, 2]) != hashing.of_value([2, 1])
    assert hashing.of_value("a") == hashlib.sha256(b'"a"').hexdigest()


def test_file_hashes_are_of_names_and_contents(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"1")
    two.write_bytes(b"2")
    assert hashing.of_file(one) == hashlib.sha256(b"1").hexdigest()
    both = hashing.of_files([one, two])
    assert both == hashing.of_files([two, one])
    two.write_bytes(b"3")
    assert both != hashing.of_files([one, two])


def test_the_store_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("CODLOCAL_HOME", str(tmp_path))
    assert paths.models() == tmp_path / "models"
    assert paths.teachers() == tmp_path / "teachers"
    assert paths.engine_python().is_relative_to(paths.engine())
    monkeypatch.setenv("CODLOCAL_HOME", "~/store")
    assert paths.home() == Path.home() / "store"
    monkeypatch.delenv("CODLOCAL_HOME")
    assert paths.home().name == "codlocal"


@pytest.mark.parametrize(
    ("name", "place"), [("CODLOCAL_HOME", paths.home), ("CODLOCAL_ENGINE", paths.engine)]
)
def test_a_place_in_the_environment_means_the_same_from_every_folder(
    monkeypatch, tmp_path, name, place
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(name, "a/b")
    assert place() == tmp_path / "a" / "b"
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    monkeypatch.setenv(name, "")
    assert place().is_absolute()
    monkeypatch.setenv(name, "~nobody-here/x")
    with pytest.raises(errors.ConfigError, match="home folder in ~nobody-here/x is not known"):
        place()


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch):
    def unknown(_name):
        raise RuntimeError("could not determine the home directory for '~/.cache'")

    monkeypatch.setattr(paths.platformdirs, "user_cache_dir", unknown)
    monkeypatch.delenv("CODLOCAL_HOME", raising=False)
    with pytest.raises(errors.ConfigError, match="no home folder") as caught:
        paths.home()
    assert "CODLOCAL_HOME" in caught.value.hint


def test_a_file_has_one_name_from_every_folder(monkeypatch, tmp_path):
    tmp_path.joinpath("a").mkdir()
    monkeypatch.chdir(tmp_path / "a")
    assert paths.absolute("../b.csv") == str(tmp_path / "b.csv")
    with pytest.raises(errors.ConfigError, match="empty"):
        paths.absolute("")
