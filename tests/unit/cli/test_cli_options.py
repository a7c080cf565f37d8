"""Which setting wins, and which run folder is used."""

import os
import re
from pathlib import Path

import pytest

from codlocal.cli.options import _SETTINGS as SETTINGS
from codlocal.cli.options import config_of, console_of, open_run, run_path
from codlocal.cli.stages import pipeline
from codlocal.core.config import differences, profile_names, profile_settings, resolve
from codlocal.core.console import Console
from codlocal.core.errors import ConfigError, DataError

QUIET = Console(-1)


def test_without_options_it_is_the_default_profile():
    config = config_of({})
    assert config.profile == "default"
    assert config.runtime.device == "cuda"


def test_the_help_tells_the_default_of_every_setting():
    told = {}
    for option in pipeline.params:
        found = re.search(r"\[default: ([^;\]]+)(?:; ([\w-]+): (.*))?\]$", option.help or "")
        if found and option.name in SETTINGS:
            told[SETTINGS[option.name]] = found.groups()
    assert len(told) > 30
    for profile in profile_names():
        config = config_of({"profile": profile})
        for setting, (usual, other, there) in told.items():
            section, key = setting.split(".")
            value = getattr(getattr(config, section), key)
            expected = there if profile == other else usual
            if expected == "the profile's":
                continue
            if value is None or setting == "runtime.port":
                assert " " in expected, f"{setting} has no default value"
            elif isinstance(value, bool):
                assert expected == ("yes" if value else "no")
            else:
                assert expected == str(value), setting


def test_later_settings_win_over_earlier_ones(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("[dataset]\nk = 8\nseed = 3\n[distillation]\nsteps = 7\n")
    given = {"profile": "embedded"}
    assert config_of(given).dataset.k == 16
    given["config_file"] = path
    assert config_of(given).dataset.k == 8
    given["assignments"] = ("dataset.k=10", "distillation.steps=9")
    assert (config_of(given).dataset.k, config_of(given).dataset.seed) == (10, 3)
    given["k"] = 12
    config = config_of(given)
    assert (config.dataset.k, config.distillation.steps) == (12, 9)
    assert config.generator.model == "gemma-3-270m"


def test_all_mistakes_are_said_at_once():
    with pytest.raises(ConfigError) as caught:
        config_of(
            {"k": 7, "assignments": ("teacher.epochs=0", "nonsense.x=1", "generator.top_p=2")}
        )
    for name in ("dataset", "teacher.epochs", "nonsense", "generator.top_p"):
        assert name in caught.value.message


@pytest.mark.parametrize("way", ["option", "setting", "file"])
def test_a_run_of_ones_own_texts_is_named_after_their_file(tmp_path, way):
    texts, file = tmp_path / "mine.csv", tmp_path / "mine.toml"
    file.write_text(f'[dataset]\npath = "{texts}"\n')
    given = {
        "option": {"data": str(texts)},
        "setting": {"assignments": (f"dataset.path={texts}",)},
        "file": {"config_file": file},
    }[way]
    assert run_path(given) == Path("runs/mine-default")
    saved = config_of(given).model_dump(mode="json")
    assert saved["dataset"]["name"] == "mine"
    assert config_of({**given, "dataset": "imdb"}).dataset.name == "imdb"
    named = config_of({**given, "dataset": "imdb", "data": str(texts)})
    assert (named.dataset.name, named.dataset.path) == ("imdb", str(texts))
    assert config_of(given, named.model_dump(mode="json")).dataset.name == "imdb"


def test_a_switch_that_was_not_given_changes_nothing():
    saved = config_of({"baseline": False, "offline": True}).model_dump(mode="json")
    config = config_of({"baseline": None, "offline": None}, saved)
    assert config.distillation.baseline is False
    assert config.runtime.offline is True
    assert config_of({"offline": False}, saved).runtime.offline is False


def test_a_saved_run_keeps_its_settings():
    saved = config_of({"profile": "embedded", "k": 8}).model_dump(mode="json")
    assert config_of({}, saved).dataset.k == 8
    assert config_of({"profile": "embedded"}, saved).dataset.k == 8
    assert config_of({"k": 4}, saved).dataset.k == 4


def test_another_profile_leaves_nothing_of_the_saved_one():
    saved = config_of({"profile": "paper-qwen"}).model_dump(mode="json")
    fresh = config_of({"profile": "embedded"})
    assert config_of({"profile": "embedded"}, saved) == fresh


def test_a_file_may_name_its_profile_and_the_command_line_goes_first(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('profile = "embedded"\n[dataset]\nseeds = 2\n')
    given = {"config_file": path}
    expected = config_of({"profile": "embedded", "assignments": ("dataset.seeds=2",)})
    assert config_of(given) == expected
    assert run_path(given) == Path("runs/yelp-embedded")
    other = config_of({**given, "profile": "paper-qwen"})
    assert (other.profile, other.teacher.model) == ("paper-qwen", "Qwen/Qwen2.5-1.5B")
    assert other.dataset.seeds == 2
    saved = config_of({"profile": "embedded", "k": 8}).model_dump(mode="json")
    assert config_of(given, saved).dataset.k == 8
    saved = config_of({"k": 8}).model_dump(mode="json")
    assert config_of(given, saved) == expected, "another profile than the saved one starts afresh"
    path.write_text('profile = "huge"')
    with pytest.raises(ConfigError, match="no profile 'huge'"):
        config_of(given)


@pytest.mark.parametrize("profile", ["default", "embedded", "paper-qwen"])
def test_the_settings_of_a_run_are_those_of_its_file(tmp_path, profile):
    path = tmp_path / "run.toml"
    unset = {"teacher": {"max_rows": None}, "distillation": {"student_layers": None}}
    recorded = resolve([profile_settings(profile), {"dataset": {"k": 6}}, unset])
    path.write_text(recorded.to_toml())
    assert config_of({"config_file": path}) == recorded
    assert config_of({"config_file": path, "profile": profile}) == recorded
    saved = config_of({"profile": profile, "concurrency": 3}).model_dump(mode="json")
    assert config_of({"config_file": path}, saved) == recorded
    replayed = config_of({"config_file": path, "replay": str(tmp_path), "teacher": "org/mine"})
    changed = differences(recorded.model_dump(mode="json"), replayed.model_dump(mode="json"))
    assert [one.split(":")[0] for one in changed] == ["runtime.replay", "teacher.model"]


def test_paths_are_absolute_so_that_a_run_goes_on_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    given = {"data": "reviews.csv", "prompt": "~/mine.jinja", "engine_python": "env/bin/python"}
    config = config_of(given)
    assert config.dataset.path == str(tmp_path / "reviews.csv")
    assert config.dataset.name == "reviews"
    assert config.generator.prompt == "/home/me/mine.jinja"
    assert config.runtime.engine_python == str(tmp_path / "env/bin/python")
    assert config_of({"prompt": "topic"}).generator.prompt == "topic"
    assert config_of({**given, "dataset": "mine"}).dataset.name == "mine"
    (tmp_path / "mine.toml").write_text('[generator]\nconfused_student = "runs/x/student"\n')
    other = {"config_file": tmp_path / "mine.toml", "assignments": ("runtime.replay=../theirs",)}
    assert config_of(other).generator.confused_student == str(tmp_path / "runs/x/student")
    assert config_of(other).runtime.replay == str(tmp_path.parent / "theirs")


def test_a_model_in_a_folder_is_found_from_every_other_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("mine", "gemma-3-270m"):
        (tmp_path / name).mkdir()
    given = {"teacher": "mine", "generator": "gemma-3-270m", "student": "org/mine"}
    config = config_of(given)
    assert config.teacher.model == str(tmp_path / "mine")
    assert config.generator.model == "gemma-3-270m", "packaged models come first"
    assert config.distillation.student == "org/mine"
    saved = config.model_dump(mode="json")
    monkeypatch.chdir("/")
    assert config_of({}, saved) == config


def test_settings_of_a_wrong_kind_are_refused_before_they_are_taken_for_paths(tmp_path):
    for wrong in ("dataset = 3", "[dataset]\npath = 3"):
        (tmp_path / "mine.toml").write_text(wrong)
        with pytest.raises(ConfigError, match="dataset"):
            config_of({"config_file": tmp_path / "mine.toml"})


def test_a_file_whose_name_can_not_be_saved_is_refused():
    given = {"data": os.fsdecode(b"caf\xe9.csv"), "dataset": "café"}
    with pytest.raises(ConfigError, match=r"caf\\udce9.csv is not UTF-8; rename it") as caught:
        config_of(given)
    assert "dataset.name" not in caught.value.message


def test_an_unknown_home_folder_is_said():
    with pytest.raises(ConfigError, match="home folder in ~nobody-of-that-name/x"):
        config_of({"prompt": "~nobody-of-that-name/x"})


def test_a_named_dataset_is_never_served_from_an_earlier_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('[dataset]\npath = "/data/x.csv"\ntext_column = "body"\n')
    found = config_of({"config_file": path}).dataset
    assert (found.path, found.text_column) == ("/data/x.csv", "body")
    found = config_of({"config_file": path, "dataset": "yelp"}).dataset
    assert (found.path, found.text_column) == (None, "text")


def test_the_run_folder_is_named_after_dataset_and_profile():
    assert run_path({"run": Path("x")}) == Path("x")
    assert run_path({}) == Path("runs/yelp-default")
    given = {"profile": "embedded", "data": "/tmp/my reviews.csv"}
    assert run_path(given) == Path("runs/my reviews-embedded")


@pytest.mark.parametrize(("data", "name"), [(".", "texts"), ("..", "mine"), ("a/../b", "b")])
def test_a_folder_of_data_has_its_own_name(tmp_path, monkeypatch, data, name):
    place = tmp_path / "mine" / "texts"
    place.mkdir(parents=True)
    monkeypatch.chdir(place)
    assert run_path({"data": data}) == Path(f"runs/{name}-default")


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("/etc/zzz", "-etc-zzz-default"),
        ("../../zzz", "-..-zzz-default"),
        ("..", "-default"),
        ("a\\b\n", "a-b--default"),
        ("z" * 300, "z" * 52 + "-default"),
    ],
)
def test_a_run_folder_is_in_runs_whatever_the_dataset_is_called(name, folder):
    assert run_path({"data": "x.csv", "dataset": name}) == Path("runs", folder)


def test_an_unknown_dataset_makes_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for given in ({"dataset": str(tmp_path / "zzz")}, {"dataset": "ylep", "run": tmp_path / "r"}):
        with pytest.raises(DataError, match="There is no dataset"), open_run(given, QUIET):
            pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "verbosity"), [({}, 0), ({"quiet": True}, -1), ({"verbose": 2}, 2)]
)
def test_how_much_is_said(given, verbosity):
    assert console_of(given).verbosity == verbosity
    assert console_of({"as_json": True}).as_json


def test_the_choices_of_an_option_are_the_values_of_its_setting():
    kinds = {one.name: one.type for one in pipeline.params}
    assert tuple(kinds["pooling"].choices) == ("first", "mean"), "None unsets it"
    assert tuple(kinds["engine"].choices) == ("vllm", "transformers")
    assert tuple(kinds["tracker"].choices) == ("none", "tensorboard", "wandb", "mlflow")
