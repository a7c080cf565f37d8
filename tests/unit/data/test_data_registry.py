import json
import subprocess
import sys
from importlib import resources

import pytest

from codlocal.core.errors import DataError
from codlocal.data import registry
from codlocal.data.registry import REGISTRY

PAPER = ("sst2", "sentiment140", "imdb", "cola", "amazon", "yelp")


def test_the_six_sets_of_the_paper_are_known_and_two_of_more_labels():
    assert tuple(REGISTRY) == (*PAPER, "ag_news", "banking77")
    counts = {name: len(entry.label_names) for name, entry in REGISTRY.items()}
    assert counts == {**dict.fromkeys(PAPER, 2), "ag_news": 4, "banking77": 77}


def test_intents_are_words_in_the_order_of_the_hubs_numbers():
    names = REGISTRY["banking77"].label_names
    assert list(names) == sorted(set(names))
    assert all(name.replace(" ", "").isalpha() and name == name.lower() for name in names)
    assert (names[11], names[51], names[53]) == (
        "card arrival", "refund not showing up", "reverted card payment",
    )  # fmt: skip


def test_yelp_stars_are_read_as_one_to_five():
    stars = {hub_label + 1: index for hub_label, index in REGISTRY["yelp"].label_map.items()}
    assert stars == {1: 0, 2: 0, 4: 1, 5: 1}


def test_neutral_tweets_are_left_out_and_cola_is_about_acceptability():
    assert dict(REGISTRY["sentiment140"].label_map) == {0: 0, 4: 1}
    assert REGISTRY["cola"].task == "acceptability"
    assert REGISTRY["cola"].label_names == ("unacceptable", "acceptable")


def test_length_rules_are_the_papers():
    limits = {name: REGISTRY[name].max_characters for name in PAPER}
    assert limits == {
        "sst2": None,
        "sentiment140": None,
        "imdb": 300,
        "cola": None,
        "amazon": 60,
        "yelp": 250,
    }


def test_glue_is_tested_on_its_validation_split():
    tested = {name: entry.test_split for name, entry in REGISTRY.items()}
    assert tested["sst2"] == tested["cola"] == "validation"
    assert {tested[name] for name in REGISTRY.keys() - {"sst2", "cola"}} == {"test"}


def test_every_label_map_covers_the_label_names():
    for entry in REGISTRY.values():
        assert set(entry.label_map.values()) == set(range(len(entry.label_names)))


def test_names_are_found_whatever_their_case():
    assert registry.find("YELP") is REGISTRY["yelp"]


def test_an_unknown_name_gets_near_names_and_the_list():
    with pytest.raises(DataError, match="no dataset 'yelb'") as caught:
        registry.find("yelb")
    assert "Did you mean yelp?" in caught.value.hint
    assert all(name in caught.value.hint for name in REGISTRY)
    with pytest.raises(DataError) as caught:
        registry.find("zzz")
    assert "Did you mean" not in caught.value.hint


def test_bundled_files_are_clean_and_attributed():
    folder = resources.files("codlocal.data") / "bundled"
    assert "CC BY 4.0" in (folder / "ATTRIBUTION.md").read_text("utf-8")
    for entry in REGISTRY.values():
        if entry.bundled is None:
            continue
        texts: list[str] = []
        for split in ("train", "validation", "test"):
            lines = (folder / entry.bundled / f"{split}.jsonl").read_text("utf-8").splitlines()
            rows = [json.loads(line) for line in lines]
            assert all(set(row) == {"text", "label"} and row["label"] in (0, 1) for row in rows)
            texts += [row["text"] for row in rows]
        assert len(set(texts)) == len(texts)


def test_the_registry_imports_nothing_heavy():
    heavy = "{'torch', 'datasets', 'sklearn', 'scipy', 'pyarrow', 'pandas'}"
    code = f"import sys, codlocal.data.registry; print(sorted({heavy} & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
