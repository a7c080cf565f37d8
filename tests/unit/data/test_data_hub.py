"""The cache is read for real, from a cache folder made here; the network is never touched."""

import logging
import shutil

import datasets
import pytest
from datasets import ClassLabel, Dataset, Features, Value
from huggingface_hub import constants

from codlocal.core.errors import DataError
from codlocal.core.foreign import hub_errors
from codlocal.core.sections import DatasetConfig
from codlocal.data.hub import NotAvailableError, load_cached, load_from_hub
from codlocal.data.loaders import load
from codlocal.data.registry import REGISTRY

STARS = ["1 star", "2 star", "3 stars", "4 stars", "5 stars"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("HF_DATASETS_OFFLINE", raising=False)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    return tmp_path / "cache"


def yelp_table(rows):
    features = Features({"label": ClassLabel(names=STARS), "text": Value("string")})
    return Dataset.from_dict(
        {"label": [star for star, _ in rows], "text": [text for _, text in rows]},
        features=features,
    )


TRAIN = yelp_table(
    [(0, "one"), (1, "two"), (2, "three"), (3, "four"), (4, "five"), (4, "x" * 251), (0, None)]
)
TEST = yelp_table([(4, "y" * 250), (2, "neutral"), (0, "é" * 250)])


def put_in_cache(cache, folder, name, config, splits):
    """Lay out a prepared dataset as the library does: NAMESPACE___NAME/CONFIG/VERSION/HASH."""
    target = cache / folder / config / "0.0.0" / "abc123"
    target.mkdir(parents=True)
    infos = datasets.SplitDict()
    for split, table in splits.items():
        table.save_to_disk(cache / "made")
        shutil.copy(cache / "made" / "data-00000-of-00001.arrow", target / f"{name}-{split}.arrow")
        infos.add(datasets.SplitInfo(split, num_examples=len(table), dataset_name=name))
    info = datasets.DatasetInfo(
        features=next(iter(splits.values())).features,
        config_name=config,
        dataset_name=name,
        version="0.0.0",
        splits=infos,
    )
    info.write_to_directory(str(target))


def cache_yelp(cache, folder="Yelp___yelp_review_full"):
    splits = {"train": TRAIN, "test": TEST}
    put_in_cache(cache, folder, "yelp_review_full", "yelp_review_full", splits)


@pytest.mark.parametrize("folder", ["Yelp___yelp_review_full", "yelp_review_full"])
def test_the_cache_serves_old_and_new_names_offline(cache, folder):
    cache_yelp(cache, folder)
    loaded = load_cached(REGISTRY["yelp"])
    assert [(it.id, it.text, it.label) for it in loaded.train] == [
        ("train-0", "one", 0),
        ("train-1", "two", 0),
        ("train-3", "four", 1),
        ("train-4", "five", 1),
    ]
    assert [(it.id, it.label) for it in loaded.test] == [("test-0", 1), ("test-2", 0)]
    assert loaded.dropped == {"left out by the dataset's rule": 3, "without text": 1}
    assert loaded.spec.source == "cache"
    assert loaded.spec.location.endswith("(yelp_review_full) at abc123")
    assert loaded.spec.label_names == ("negative", "positive")
    assert "Yelp" in loaded.spec.attribution


def test_a_configuration_and_a_validation_split_are_picked(cache):
    table = Dataset.from_dict({"sentence": ["fine", "not fine"], "label": [1, 0]})
    tested = Dataset.from_dict({"sentence": ["ok", "?"], "label": [1, -1]})
    put_in_cache(cache, "nyu-mll___glue", "glue", "cola", {"train": table, "validation": tested})
    loaded = load_cached(REGISTRY["cola"])
    assert loaded.spec.label_names == ("unacceptable", "acceptable")
    assert loaded.spec.task == "acceptability"
    assert (loaded.spec.train_rows, loaded.spec.test_rows) == (2, 1)


@pytest.mark.parametrize(
    ("name", "folder", "label", "named"),
    [
        ("ag_news", "fancyzhx___ag_news", 3, "science and technology"),
        ("ag_news", "ag_news", 0, "world"),
        ("banking77", "PolyAI___banking77", 76, "wrong exchange rate for cash withdrawal"),
    ],
)
def test_sets_of_many_labels_are_read(cache, name, folder, label, named):
    table = Dataset.from_dict({"text": ["one", "two"], "label": [label, 1]})
    tested = Dataset.from_dict({"text": ["three"], "label": [label]})
    put_in_cache(cache, folder, name, "default", {"train": table, "test": tested})
    loaded = load(DatasetConfig(name=name, source="cache"))
    assert [loaded.spec.label_names[one.label] for one in loaded.test] == [named]
    assert (loaded.spec.train_rows, loaded.dropped) == (2, {})
    assert loaded.spec.task == REGISTRY[name].task


def test_an_empty_cache_is_said_and_the_flags_are_put_back():
    before = datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE
    with pytest.raises(NotAvailableError, match="Yelp/yelp_review_full is not there"):
        load_cached(REGISTRY["yelp"])
    after = datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE
    assert after == before


def test_other_columns_than_expected_are_refused(cache):
    table = Dataset.from_dict({"review": ["a"], "label": [0]})
    splits = {"train": table, "test": table}
    put_in_cache(cache, "stanfordnlp___imdb", "imdb", "plain_text", splits)
    with pytest.raises(DataError, match="no column 'text'"):
        load_cached(REGISTRY["imdb"])


class FakeBuilder:
    """Stands for a builder of the library whose files come from the network."""

    hash = "fed321"
    config = datasets.BuilderConfig("yelp_review_full")

    def download_and_prepare(self):
        pass

    def as_dataset(self, split):
        return {"train": TRAIN, "test": TEST}[split]


@pytest.fixture
def asked(monkeypatch):
    calls = []

    def fake(path, name, revision):
        calls.append((path, name, revision))
        if datasets.config.HF_HUB_OFFLINE:
            raise ConnectionError("offline")
        return FakeBuilder()

    monkeypatch.setattr(datasets, "load_dataset_builder", fake)
    return calls


def test_the_hub_is_recorded_as_the_source(asked):
    loaded = load_from_hub(REGISTRY["yelp"])
    assert loaded.spec.source == "hub"
    assert loaded.spec.location == "Yelp/yelp_review_full (yelp_review_full) at fed321"
    assert asked == [("Yelp/yelp_review_full", None, None)]


def test_the_libraries_say_nothing(asked, monkeypatch, capfd):
    def download(_builder):
        logging.getLogger("huggingface_hub").warning("Retrying")
        datasets.logging.get_logger().warning("Using the cache")
        list(datasets.utils.tqdm(range(3)))

    monkeypatch.setattr(FakeBuilder, "download_and_prepare", download)
    datasets.enable_progress_bars()
    datasets.logging.set_verbosity_warning()
    load_from_hub(REGISTRY["yelp"])
    assert capfd.readouterr().err == ""


def test_auto_is_the_cache_then_the_hub(asked):
    assert load(DatasetConfig(name="yelp")).spec.source == "hub"
    assert [path for path, _, _ in asked] == [
        "Yelp/yelp_review_full",
        "hf://datasets/yelp_review_full",
        "Yelp/yelp_review_full",
    ]


def test_auto_prefers_the_cache(cache, monkeypatch):
    cache_yelp(cache)

    def forbidden(entry):
        raise AssertionError("the hub was asked")

    monkeypatch.setattr("codlocal.data.loaders._SOURCES", {"cache": load_cached, "hub": forbidden})
    assert load(DatasetConfig(name="yelp")).spec.source == "cache"


def test_a_loading_scripts_data_is_read_from_its_own_branch(asked):
    with pytest.raises(DataError, match="no column 'sentiment'"):
        load_from_hub(REGISTRY["sentiment140"])
    load_from_hub(REGISTRY["banking77"])
    assert asked == [
        ("stanfordnlp/sentiment140", None, "refs/convert/parquet"),
        ("PolyAI/banking77", None, "refs/convert/parquet"),
    ]


@pytest.mark.parametrize(
    ("settings", "offline", "asks_hub"),
    [
        ({"source": "auto"}, True, False),
        ({"source": "cache"}, False, False),
        ({"source": "hub"}, False, True),
        ({"source": "auto"}, False, True),
    ],
)
def test_what_can_not_be_had_is_explained(monkeypatch, settings, offline, asks_hub):
    def fails(path, name, revision):
        if not datasets.config.HF_HUB_OFFLINE:
            raise hub_errors()[0]("no route")
        raise ConnectionError("offline")

    monkeypatch.setattr(datasets, "load_dataset_builder", fails)
    with pytest.raises(DataError, match="can't be had") as caught:
        load(DatasetConfig(name="yelp", **settings), offline=offline)
    assert ("no route" in caught.value.message) == asks_hub
    for advice in ("--data FILE", "--source bundled", "--profile embedded"):
        assert advice in caught.value.hint


def test_a_repository_that_is_a_script_is_never_run(monkeypatch):
    def fails(path, name, revision):
        raise RuntimeError("Dataset scripts are no longer supported")

    monkeypatch.setattr(datasets, "load_dataset_builder", fails)
    with pytest.raises(DataError, match="scripts are no longer") as caught:
        load(DatasetConfig(name="sst2", source="hub"))
    assert caught.value.hint == "Use --data FILE for texts of your own."


@pytest.mark.parametrize("by_environment", [True, False])
def test_the_hub_is_refused_offline(monkeypatch, by_environment):
    if by_environment:
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DataError, match="while codlocal is offline"):
        load(DatasetConfig(name="yelp", source="hub"), offline=not by_environment)
