import tomllib

import pytest
import tomli_w

from codlocal.core import config
from codlocal.core.config import STAGES, Config, parse_assignments, read_file, resolve
from codlocal.core.errors import ConfigError
from codlocal.core.sections import RuntimeConfig


def test_later_layers_win_key_by_key():
    layers = [
        {"dataset": {"k": 8, "name": "imdb"}},
        {"dataset": {"k": 16}},
        {"profile": "mine"},
    ]
    found = resolve(layers)
    assert (found.dataset.k, found.dataset.name, found.profile) == (16, "imdb", "mine")
    assert found.teacher == Config().teacher


def test_all_problems_are_told_at_once():
    settings = {
        "dataset": {"k": 7, "seeds": 0},
        "teacher": {"epochs": "many"},
        "distillation": {"temperatur": 2},
        "runtme": {},
    }
    with pytest.raises(ConfigError, match="mistakes") as caught:
        resolve([settings])
    for part in (
        "dataset.seeds: ",
        "teacher.epochs: ",
        "distillation.temperatur: no such setting",
        "runtme: no such setting",
    ):
        assert part in caught.value.message


def test_a_section_that_is_no_table_is_refused_whatever_comes_after_it():
    layers = [{"dataset": {"source": "bundled"}}, {"dataset": "yelp"}, {"dataset": {"k": 4}}]
    with pytest.raises(ConfigError, match="dataset: Input should be a valid dictionary"):
        resolve(layers)


def test_an_odd_k_is_explained():
    with pytest.raises(ConfigError, match=r"k must be even .* not 7") as caught:
        resolve([{"dataset": {"k": 7}}])
    assert "has a mistake:" in caught.value.message


def test_assignments_are_toml_or_plain_text():
    words = ["dataset.k=8", "dataset.name=imdb", "runtime.offline=true", 'generator.prompt="a=b"']
    assert config.parse_assignments([*words, "generator.rounds=['free']", "dataset.path="]) == {
        "dataset": {"k": 8, "name": "imdb", "path": None},
        "runtime": {"offline": True},
        "generator": {"prompt": "a=b", "rounds": ["free"]},
    }


@pytest.mark.parametrize("word", ["k=8", "dataset.k", "=1", "dataset.=1", ".k=1"])
def test_a_malformed_assignment_is_refused(word):
    with pytest.raises(ConfigError, match=r"section.key=value") as caught:
        config.parse_assignments([word])
    assert "--set distillation.steps=200" in caught.value.hint


def test_every_profile_resolves_to_itself():
    assert config.profile_names() == ["default", "embedded", "paper-qwen"]
    for name in config.profile_names():
        assert resolve([config.profile_settings(name)]).profile == name


def test_an_unknown_profile_is_refused_with_the_list():
    with pytest.raises(ConfigError, match="no profile 'huge'") as caught:
        config.profile_settings("huge")
    assert "default, embedded, paper-qwen" in caught.value.hint


def test_a_configuration_survives_its_file(tmp_path):
    path = tmp_path / "run.toml"
    dataset = {"path": "mine.csv", "label_names": ["a", "ü"]}
    original = resolve([config.profile_settings("embedded"), {"dataset": dataset}])
    path.write_text(original.to_toml(), "utf-8")
    assert resolve([config.read_toml(path)]) == original


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no configuration file"), (b"k = ", "not a readable TOML"), (b"\xff", "TOML")],
)
def test_an_unreadable_file_is_refused(tmp_path, content, message):
    path = tmp_path / "mine.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        config.read_toml(path)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("name", "value"),
    [("text_column", "body"), ("label_column", "stars"), ("label_names", ["bad", "good"])],
)
def test_a_named_dataset_brings_its_columns_and_label_names(name, value):
    with pytest.raises(ConfigError, match=rf"{name} can be chosen .* only; imdb brings its own"):
        resolve([{"dataset": {"name": "imdb", name: value}}])
    assert resolve([{"dataset": {"path": "mine.csv", name: value}}])


def test_an_assignment_without_a_value_unsets_what_need_not_be_set():
    saved = {"distillation": {"pooling": "mean"}}
    unset = config.parse_assignments(["distillation.pooling="])
    assert resolve([saved, unset]).distillation.pooling is None
    with pytest.raises(ConfigError, match=r"teacher\.model"):
        resolve([config.parse_assignments(["teacher.model="])])


def test_a_byte_order_mark_is_no_setting(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('profile = "mine"\n', "utf-8-sig")
    assert config.read_toml(path) == {"profile": "mine"}


def test_a_group_that_fits_into_no_batch_is_refused():
    settings = {"generator": {"budget": "max"}, "verification": {"per_example": 8}}
    with pytest.raises(ConfigError, match=r"\n  distillation.batch_size must be at least 9"):
        resolve([settings])
    assert resolve([settings, {"distillation": {"batch_size": 9}}])
    assert resolve([settings, {"generator": {"budget": "paper"}}])


def test_a_search_has_a_round_at_least():
    with pytest.raises(ConfigError, match=r"generator\.rounds: .*at least 1 item"):
        resolve([config.parse_assignments(["generator.rounds=[]"])])


def test_a_student_made_of_the_teacher_has_its_pooling():
    settings = {"student_init": "teacher", "pooling": "mean"}
    with pytest.raises(ConfigError, match="has the teacher's pooling"):
        resolve([{"distillation": settings}])


@pytest.mark.parametrize("value", ["inf", "nan"])
def test_a_setting_is_a_finite_number(value):
    layer = config.parse_assignments([f"verification.max_edit_distance={value}"])
    with pytest.raises(ConfigError, match="finite number"):
        resolve([layer])


@pytest.mark.parametrize("section", ["dataset", "teacher", "generator"])
def test_a_seed_is_one_that_every_generator_of_random_numbers_takes(section):
    assert getattr(resolve([{section: {"seed": 2**31 - 1}}]), section).seed == 2**31 - 1
    for seed in (-1, 20240115103000):
        with pytest.raises(ConfigError, match=rf"{section}\.seed"):
            resolve([{section: {"seed": seed}}])


def test_seeds_count_up_from_the_first():
    assert resolve([{"dataset": {"seed": 3, "seeds": 2}}]).dataset.all_seeds == (3, 4)


def test_a_stage_depends_on_its_own_and_earlier_settings_alone():
    changes = {
        "data": {"dataset": {"k": 8}},
        "teacher": {"teacher": {"epochs": 9}},
        "generate": {"generator": {"candidates": 2}},
        "verify": {"verification": {"min_pairs": 3}},
        "distill": {"distillation": {"steps": 5}},
    }
    for name, change in changes.items():
        assert changed_stages(change) == list(STAGES[STAGES.index(name) :])
    assert changed_stages({"runtime": {"offline": True, "concurrency": 1}}) == []


def changed_stages(change):
    changed, before = resolve([change]), Config()
    return [one for one in STAGES if changed.stage_settings(one) != before.stage_settings(one)]


def test_differences_name_the_settings():
    old, new = {"a": {"b": 1, "c": 2}, "d": 1}, {"a": {"b": 1, "c": 3}, "e": None, "d": 1}
    assert config.differences(old, new) == ["a.c: 2 -> 3"]
    assert config.differences({"a": 1}, {"b": 2}) == ["a: 1 -> None", "b: None -> 2"]


def test_toml_leaves_out_what_is_not_set():
    assert "path" not in tomllib.loads(Config().to_toml())["dataset"]


@pytest.mark.parametrize("whole", [True, False])
def test_a_runs_own_file_does_not_say_what_this_machine_runs_and_asks(tmp_path, whole):
    runtime = {
        "engine_python": "/tmp/theirs", "server_url": "http://127.0.0.1:1", "port": 5,
        "server_arguments": ["--x"], "tracker": "wandb", "replay": "/tmp/theirs",
    }  # fmt: skip
    chosen = {"dataset": {"k": 6}, "runtime": runtime}
    path = tmp_path / ("theirs.toml" if whole else "run.toml")
    path.write_text(tomli_w.dumps(config.merge(Config().model_dump(exclude_none=True), chosen))
                    if whole else tomli_w.dumps(chosen))  # fmt: skip
    found = resolve([read_file(path)])
    assert found.dataset.k == 6
    assert found.runtime == RuntimeConfig()
    own = tmp_path / "mine.toml"
    own.write_text('[runtime]\nserver_url = "http://127.0.0.1:1"\n')
    assert read_file(own)["runtime"]["server_url"] == "http://127.0.0.1:1"


@pytest.mark.parametrize("text", ["a = " + "[" * 9999, "a = " + "9" * 9999])
def test_toml_that_python_does_not_read_is_refused(tmp_path, text):
    path = tmp_path / "deep.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match="not a readable TOML"):
        read_file(path)
    assert parse_assignments([f"dataset.name{text[1:]}"])


@pytest.mark.parametrize("setting", ["dataset.seeds", "dataset.k", "distillation.steps"])
def test_a_number_beyond_all_bounds_is_refused(setting):
    with pytest.raises(ConfigError, match=setting):
        resolve([parse_assignments([f"{setting}={10**20}"])])
