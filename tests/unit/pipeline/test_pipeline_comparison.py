import io
import json

import pytest
from rich.console import Console as RichConsole
from runs import config, run_with_data, write_data
from verified import generation_with, verdict_with

from codlocal.core import jsonl
from codlocal.core.artifacts import SPEC, read_spec
from codlocal.core.console import Console
from codlocal.core.errors import ConfigError, DeviceError, ModelError, RunError
from codlocal.core.records import (
    Candidate,
    CounterfactualPair,
    Fluency,
    Metrics,
    Original,
)
from codlocal.evaluation.summary import describe, summarise
from codlocal.pipeline import preflight
from codlocal.pipeline.comparison import Contender, compare, set_aside, settings_of
from codlocal.pipeline.comparison_table import table

QUIET = Console(-1)
A, B = Contender("a", "models/a", "completion"), Contender("b", "models/b", "chat")


def test_only_the_generator_and_the_demand_for_pairs_differ():
    base = config(verification={"min_pairs": 5})
    ours = settings_of(base, B)
    assert (ours.generator.model, ours.generator.prompting) == ("models/b", "chat")
    assert ours.verification.min_pairs == 0
    for name in ("dataset", "teacher", "distillation", "runtime"):
        assert getattr(ours, name) == getattr(base, name)


@pytest.mark.parametrize("runtime", [{"server_url": "http://x"}, {"replay": "y"}])
def test_one_source_of_replies_can_not_be_two_generators(runtime):
    with pytest.raises(ConfigError, match="can't be compared"):
        settings_of(config(runtime=runtime), A)


class Stages:
    """Stands for the stages of a run; remembers them, and trains students of one file."""

    def __init__(self, *, seeds=2, pairs=3):
        self.seeds = seeds
        self.pairs = pairs
        self.log = []
        self.trained = []

    def __call__(self, run, until):
        if not run.is_done("data"):
            with run.stage("data"):
                write_data(run)
        if run.is_done(until):
            return
        self.log.append((run.path.name, until))
        if until == "verify":
            self.generate(run)
        else:
            self.distil(run)

    def generate(self, run):
        with run.stage("generate") as facts:
            facts["completion_tokens"] = 300
        with run.stage("verify") as facts:
            facts.update(originals=4, candidates=20, flips=5, pairs=self.pairs)
            facts["median_edit_distance"] = 0.25 if self.pairs else None
        jsonl.write_rows(run.file("pairs.jsonl"), [pair(number) for number in range(self.pairs)])
        for name, found in rows().items():
            jsonl.write_rows(run.file(name), found)
        jsonl.write_json(
            run.file("generation.json"), generation_with(self.pairs).model_dump(mode="json")
        )

    def distil(self, run):
        with run.stage("distill"):
            for seed in range(self.seeds):
                for arm in ("student", "baseline"):
                    folder = run.file("students", f"{arm}-seed{seed}")
                    if not folder.exists():
                        self.trained.append((run.path.name, folder.name))
                        jsonl.write_text(folder / "weights", run.path.name)
                        filters = folder.with_name(f"filters-{folder.name}.safetensors")
                        jsonl.write_text(filters, run.path.name)
        better = 0.1 * (run.path.name == "b")
        with run.stage("evaluate"):
            jsonl.write_json(run.file("metrics.json"), self.metrics(read_spec(run), better))

    def metrics(self, spec, better):
        students = [scores(0.7 + better + 0.02 * seed) for seed in range(self.seeds)]
        baselines = [scores(0.6)] * self.seeds
        arms = {"student": students, "baseline": baselines}
        return summarise(arms, scores(1.0), range(self.seeds), describe(spec, 8))


def rows():
    """Four originals with five replies each; the first reply flips, of one original a second."""
    ids = [f"train/{number}" for number in range(4)]
    replies = [f"{one}/{at}" for one in ids for at in range(5)]
    flips = {f"{one}/0" for one in ids} | {"train/0/1"}
    return {
        "originals.jsonl": [
            Original(example_id=one, probabilities=(0.2, 0.8), label=1, fluency=score(-3.0))
            for one in ids
        ],
        "candidates.jsonl": [
            Candidate(
                id=one, example_id=one[:-2], round=0, strategy="guided", source_label=1,
                target_label=0, text="so bad", completion_tokens=10 + 2 * int(one[-3]),
            )
            for one in replies
        ],
        "verdicts.jsonl": [
            verdict_with(
                candidate_id=one, example_id=one[:-2], probabilities=(0.9, 0.1), label=0,
                flipped=one in flips, edits=1, edit_distance=0.1 + int(one[-3]) / 10,
                fluency=score(-3.0 - int(one[-3])) if one in flips else None,
            )
            for one in replies
        ],
    }  # fmt: skip


def score(mean):
    return Fluency(mean=mean, worst=-9.0, tokens=3)


def pair(number):
    return CounterfactualPair(
        example_id=f"train/{number}", candidate_id=f"train/{number}/0", text="so good", label=1,
        counterfactual="so bad", counterfactual_label=0, edit_distance=0.5, target_probability=0.9,
    )  # fmt: skip


def scores(agreement):
    return Metrics(
        accuracy=agreement, macro_f1=agreement, matthews=0.5, teacher_agreement=agreement,
        calibration_error=0.1, brier=0.2, boundary_agreement=0.5, boundary_n=10, n=50,
    )  # fmt: skip


def drawn(result):
    screen = RichConsole(file=io.StringIO(), width=120)
    screen.print(table(result))
    return [" ".join(line.split()) for line in screen.file.getvalue().splitlines()]


def test_every_generator_gets_an_ordinary_run_and_the_result_is_kept(tmp_path):
    stages = Stages()
    result = compare(tmp_path, config(), [A, B], stages)
    assert stages.log == [("a", "verify"), ("a", "evaluate"), ("b", "verify"), ("b", "evaluate")]
    assert json.loads((tmp_path / "comparison.json").read_text()) == result
    assert [row["run"] for row in result["generators"]] == [
        str(tmp_path / "generators" / name) for name in "ab"
    ]
    with run_with_data(tmp_path / "generators" / "b", settings_of(config(), B)) as run:
        assert run.is_done("evaluate")


def test_the_baselines_are_trained_once(tmp_path):
    stages = Stages()
    compare(tmp_path, config(), [A, B], stages)
    assert ("a", "baseline-seed1") in stages.trained
    assert [name for run, name in stages.trained if run == "b"] == [
        "student-seed0", "student-seed1",
    ]  # fmt: skip
    students = tmp_path / "generators" / "b" / "students"
    assert students.joinpath("baseline-seed0", "weights").read_text() == "a"
    for name, whose in (("baseline-seed0", "a"), ("student-seed0", "b")):
        assert students.joinpath(f"filters-{name}.safetensors").read_text() == whose
    assert len(list(students.iterdir())) == 8


def test_the_same_comparison_again_does_nothing_anew(tmp_path):
    stages = Stages()
    first = compare(tmp_path, config(), [A, B], stages)
    stages.log.clear()
    again = compare(tmp_path, config(), [A, B], stages)
    assert stages.log == []
    assert again == first


@pytest.mark.parametrize("name", ["metrics.json", "generation.json"])
@pytest.mark.parametrize("content", ["", '{"total": {', "[1, 2]"])
def test_damaged_results_of_a_run_are_named(tmp_path, name, content):
    compare(tmp_path, config(), [A, B], Stages())
    tmp_path.joinpath("generators", "b", name).write_text(content)
    with pytest.raises(RunError, match=f"b/{name} is .*damaged") as caught:
        compare(tmp_path, config(), [A, B], Stages())
    assert "--redo" in caught.value.hint


def test_a_run_whose_measures_are_gone_is_told(tmp_path):
    compare(tmp_path, config(), [A], Stages())
    tmp_path.joinpath("generators", "a", "generation.json").unlink()
    with pytest.raises(RunError, match=r"generation\.json is missing"):
        compare(tmp_path, config(), [A], Stages())


def test_a_stage_is_redone_in_every_run(tmp_path):
    stages = Stages()
    compare(tmp_path, config(), [A, B], stages)
    stages.log.clear()
    other = config(distillation={"steps": 7})
    set_aside(tmp_path, other, [A, B], "distill")
    compare(tmp_path, other, [A, B], stages)
    assert stages.log == [("a", "evaluate"), ("b", "evaluate")]


def test_nothing_is_set_aside_if_one_run_has_other_settings(tmp_path):
    compare(tmp_path, config(), [A], Stages())
    compare(tmp_path, config(dataset={"k": 4}), [B], Stages())
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(RunError, match=r"dataset\.k: 4 -> 8"):
        set_aside(tmp_path, config(), [A, B], "distill")
    assert sorted(tmp_path.rglob("*")) == before


def test_nothing_is_set_aside_for_a_machine_without_the_device(tmp_path, monkeypatch):
    monkeypatch.setattr(preflight, "has_gpu", lambda: False)
    compare(tmp_path, config(), [A], Stages())
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DeviceError):
        set_aside(tmp_path, config(runtime={"device": "cuda"}), [A], "distill")
    assert sorted(tmp_path.rglob("*")) == before


def test_no_run_is_begun_if_a_later_one_can_not_be(tmp_path):
    encoder = tmp_path / "encoder"
    encoder.mkdir()
    for name in ("model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        encoder.joinpath(name).write_text("{}")
    encoder.joinpath("config.json").write_text('{"architectures": ["BertModel"]}')
    stages = Stages()
    with pytest.raises(ModelError, match="not a language model that generates text"):
        compare(tmp_path, config(), [A, Contender("c", str(encoder), "completion")], stages)
    assert stages.log == []

    compare(tmp_path, config(dataset={"k": 4}), [B], stages)
    with pytest.raises(RunError, match=r"dataset\.k: 4 -> 8"):
        compare(tmp_path, config(), [A, B], stages)
    assert not tmp_path.joinpath("generators", "a").exists()


def test_the_table_has_a_column_a_generator(tmp_path):
    lines = drawn(compare(tmp_path, config(), [A, B], Stages()))
    for line in (
        "│ candidates that flip │ 25% [20%, 35%] │ 25% [20%, 35%] │",
        "│ originals with a pair │ 3 of 4 [30%, 95%] │ 3 of 4 [30%, 95%] │",
        "│ edited share of words, median │ 0.25 [0.10, 0.30] │ 0.25 [0.10, 0.30] │",
        "│ distance to the boundary, median │ 0.40 │ 0.40 │",
        "│ perplexity / original's, median │ 1.50 [1.00, 7.39] │ 1.50 [1.00, 7.39] │",
        "│ diversity │ - │ - │",
        "│ generated tokens │ 300 │ 300 │",
        "│ agreement of the student │ 0.710 ±0.127 │ 0.810 ±0.127 │",
        "│ against the first │ - │ +0.100 ±0.000 │",
    ):
        assert line in lines


def test_one_seed_and_no_pair_leave_cells_open(tmp_path):
    lines = drawn(compare(tmp_path, config(), [A, B], Stages(seeds=1, pairs=0)))
    assert "│ edited share of words, median │ - │ - │" in lines
    assert "│ generated tokens per pair │ - │ - │" in lines
    assert "│ against the first │ - │ +0.100 │" in lines
    at = lines.index("│ agreement of the baseline │ 0.600 │ 0.600 │")
    assert lines[at + 1] == "│ │ [0.462, 0.724] │ [0.462, 0.724] │"


def test_what_the_table_shows_is_in_the_result(tmp_path):
    first, second = compare(tmp_path, config(), [A, B], Stages())["generators"]
    assert first["intervals"]["edit_distance"] == pytest.approx([0.1, 0.3])
    assert first["intervals"]["tokens_per_pair"][0] < 100
    assert first["intervals"]["diversity"] is first["intervals"]["seconds_per_pair"] is None
    assert "against_first" not in first
    assert second["against_first"]["mean"] == pytest.approx(0.1)
    assert second["against_first"]["interval"] == pytest.approx([0.1, 0.1])


def test_generators_are_never_compared_on_other_texts(tmp_path):
    stages = Stages()
    compare(tmp_path, config(), [A], stages)
    spec = tmp_path.joinpath("generators", "a", *SPEC)
    spec.write_text(spec.read_text().replace("0" * 64, "1" * 64))
    with pytest.raises(RunError, match="the data was changed in between"):
        compare(tmp_path, config(), [A, B], stages)
    assert ("b", "verify") not in stages.log
