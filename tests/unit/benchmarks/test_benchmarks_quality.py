import tomllib

from benchmarks import quality
from click.testing import CliRunner

from codlocal.pipeline.cells import plan
from codlocal.pipeline.grid import read_grid


def test_the_bench_is_a_grid_of_all_sets(tmp_path):
    for name in ("uci_yelp", "cola"):
        tmp_path.joinpath(name).mkdir()
        rows = "".join(f"words {at},{at % 2}\n" for at in range(40))
        tmp_path.joinpath(name, "train.csv").write_text("text,label\n" + rows)
    out = tmp_path / "out"
    words = ["--data", str(tmp_path), "--out", str(out), "--k", "8, 16", "--seeds", "2"]
    words += ["--sets", "uci_yelp,cola", "--set", "distillation.steps=7", "--dry-run"]
    shown = CliRunner().invoke(quality.main, words)
    assert shown.exit_code == 0, shown.output
    assert "96 cells" in " ".join(shown.output.split())
    content = tomllib.loads((out / "quality.toml").read_text())
    assert [entry["name"] for entry in content["dataset"]] == ["uci_yelp", "cola"]
    yelp, cola = plan(read_grid(out / "quality.toml", {}))
    assert yelp.config.dataset.path == str(tmp_path / "uci_yelp")
    assert cola.config.dataset.label_names == ("unacceptable", "acceptable")
    assert cola.config.generator.prompt == "acceptability"


def test_a_set_has_the_labels_it_is_known_for_in_the_order_of_its_own_list(tmp_path):
    for name in ("ag_news", "banking77"):
        tmp_path.joinpath(name).mkdir()
        rows = "".join(f"words {at},{at % 4}\n" for at in range(40))
        tmp_path.joinpath(name, "train.csv").write_text("text,label\n" + rows)
    (tmp_path / "banking77" / "labels.json").write_text(
        '["card_arrival", "age_limit", "exchange_rate", "atm_support"]'
    )
    out = tmp_path / "out"
    words = ["--data", str(tmp_path), "--out", str(out), "--sets", "ag_news,banking77"]
    shown = CliRunner().invoke(quality.main, [*words, "--k", "8", "--dry-run"])
    assert shown.exit_code == 0, shown.output
    news, requests = plan(read_grid(out / "quality.toml", {}))
    assert news.config.dataset.label_names[:2] == ("world", "sports")
    assert news.config.generator.prompt == "topic"
    names = requests.config.dataset.label_names
    assert names == ("card arrival", "age limit", "exchange rate", "atm support")
    assert requests.config.generator.prompt == "intent"
