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
    assert cola.config.generator.prompt.endswith("prompts/acceptability.jinja")
