"""Counterfactuals that a sweep takes from another run."""

import shutil

import pytest
from fakes import FakeTeacher
from runs import grid_of, run_with_data
from verified import verdict_with

from codlocal.core import artifacts, jsonl
from codlocal.core.config import resolve
from codlocal.core.console import Console
from codlocal.core.errors import ConfigError, RunError
from codlocal.core.records import Candidate, FewShotSplit, Original, Verdict
from codlocal.core.run import RunFolder
from codlocal.pipeline import ablation, lending
from codlocal.pipeline.cells import plan
from codlocal.pipeline.lending import borrow
from codlocal.pipeline.session import Session


@pytest.fixture
def lender(tmp_path):
    """A run of the tiny reviews whose generate and teacher stages are done."""
    config = resolve([{"profile": "embedded", "dataset": {"name": "tiny", "k": 8},
                       "generator": {"model": "gemma"}}])  # fmt: skip
    with run_with_data(tmp_path / "lender", config) as run:
        _give_teacher(run, "a")
        with run.stage("generate"):
            run.file("prompt.jinja").write_text("prompt")
            for name, row in (
                ("originals", lambda one: Original(
                    example_id=one.id, probabilities=(0.2, 0.8), label=1)),
                ("candidates", lambda one: Candidate(
                    id=f"{one.id}/0/0/0", example_id=one.id, round=0, strategy="guided",
                    source_label=1, target_label=0, text="changed")),
                ("verdicts", lambda one: verdict_with(
                    candidate_id=f"{one.id}/0/0/0", example_id=one.id, label=0, flipped=True,
                    probabilities=(0.8, 0.2), edits=1, edit_distance=0.2)),
            ):  # fmt: skip
                rows = map(row, artifacts.originals(run))
                jsonl.write_rows(run.file(f"{name}.jsonl"), rows)
    return tmp_path / "lender"


def _give_teacher(run, sha256, **more):
    record = {"path": "t", "trained": True, "base": "t", "sha256": sha256, "labels": ["a", "b"]}
    jsonl.write_json(run.file("teacher.json"), {**record, **more})


def borrower(tmp_path, lender, sha256="a"):
    shutil.copytree(lender / "data", tmp_path / "mine" / "data")
    run = RunFolder(tmp_path / "mine", resolve([{"dataset": {"name": "tiny", "k": 8}}]))
    _give_teacher(run, sha256)
    return run


def test_a_run_borrows_what_its_originals_need(tmp_path, lender):
    run = borrower(tmp_path, lender)
    split = artifacts.read_few_shot(run)[0]
    smaller = split.model_copy(update={"ids": split.ids[:8]})
    jsonl.write_rows(run.file(*artifacts.FEW_SHOT), [smaller])
    borrow(run, lender)
    kept = [row.example_id for row in jsonl.read_rows(run.file("originals.jsonl"), Original)]
    assert sorted(kept) == sorted(split.ids[:4])
    for name, kind in (("candidates", Candidate), ("verdicts", Verdict)):
        found = {row.example_id for row in jsonl.read_rows(run.file(f"{name}.jsonl"), kind)}
        assert found == set(kept)
    assert run.facts("generate") == {
        "taken_from": str(lender), "originals": 4, "candidates": 4,
    }  # fmt: skip
    assert run.is_done("generate")


def test_the_originals_that_the_teacher_chooses_are_borrowed(tmp_path, lender, monkeypatch):
    monkeypatch.setattr(Session, "_teacher", FakeTeacher())
    borrower(tmp_path, lender)
    active = {"dataset": {"name": "tiny", "k": 8}, "generator": {"select_originals": "active"}}
    run = RunFolder(tmp_path / "mine", resolve([active]))
    Session(run, Console(-1)).borrow(lender)
    flipped = [row.example_id for row in jsonl.read_rows(run.file("originals.jsonl"), Original)]
    assert sorted(flipped) == sorted(artifacts.original_ids(run))
    first = next(jsonl.read_rows(run.file(*artifacts.FEW_SHOT), FewShotSplit)).ids
    assert set(flipped) != set(first[: len(flipped)])
    Session(run, Console(-1)).borrow(tmp_path / "not asked again")


def test_another_teacher_other_data_or_missing_originals_are_refused(tmp_path, lender):
    run = borrower(tmp_path, lender, sha256="b")
    with pytest.raises(RunError, match="has another teacher"):
        borrow(run, lender)
    _give_teacher(run, "a", quantization="nf4")
    with pytest.raises(RunError, match="has another teacher"):
        borrow(run, lender)
    _give_teacher(run, "a")
    shorter = resolve([{"teacher": {"max_length": 8}}])
    with pytest.raises(RunError, match="has another teacher"):
        borrow(RunFolder(run.path, shorter), lender)
    rows = list(jsonl.read_rows(lender / "originals.jsonl", Original))
    jsonl.write_rows(lender / "originals.jsonl", rows[1:])
    with pytest.raises(RunError, match="lacks 1 of the originals"):
        borrow(run, lender)
    spec = artifacts.read_spec(run).model_copy(update={"sha256": "1" * 64})
    jsonl.write_json(run.file(*artifacts.SPEC), spec.model_dump(mode="json"))
    with pytest.raises(RunError, match="is of other data"):
        borrow(run, lender)
    assert not run.is_done("generate")


@pytest.mark.parametrize(
    ("arms", "stages"),
    [(["student"], ["data"]), (["student", "baseline"], ["data", "teacher"])],
)
def test_a_teacher_that_only_a_lender_needs_is_not_made_where_it_is_another(
    tmp_path, lender, monkeypatch, arms, stages
):
    asked = []

    def advance(session, until):
        asked.append(until)
        if until == "data":
            with session.run.stage("data"):
                shutil.copytree(lender / "data", session.run.file("data"))
        if until == "teacher":
            _give_teacher(session.run, "b")

    monkeypatch.setattr(Session, "advance", advance)
    monkeypatch.setattr(ablation, "possible", lambda cells, _console: (cells, []))
    monkeypatch.setattr(lending, "may_get", lambda *_: False)
    grid = {"dataset": {"name": "tiny", "path": str(lender)}, "generator": "gemma", "k": 8}
    (source,) = plan(grid_of(**grid, seeds=1, arm=arms, pairs_from=str(lender)))
    left, failed = ablation._prepared(source, source.cells, tmp_path / "sweep", Console(-1))
    assert asked == stages
    assert [cell.arm for cell in left] == arms[1:]
    assert all("has another teacher" in row.error for row in failed)


def test_lenders_are_matched_by_dataset_and_generator(tmp_path, lender):
    wanted = {
        "dataset": {"name": "tiny", "path": str(lender)},
        "generator": ["gemma", "qwen"],
        "k": 8,
    }
    first, second = plan(grid_of(**wanted, pairs_from=str(lender)))
    assert (first.lender, second.lender) == (lender, None)
    assert first.key != plan(grid_of(**wanted))[0].key
    nowhere = str(tmp_path / "nowhere")
    with pytest.raises(ConfigError) as caught:
        plan(grid_of(**{**wanted, "generator": "qwen"}, pairs_from=[str(lender), nowhere]))
    assert "is of tiny and gemma, not of this grid" in caught.value.message
    assert "nowhere is no run with counterfactuals" in caught.value.message
    twin = tmp_path / "twin"
    shutil.copytree(lender, twin)
    with pytest.raises(ConfigError, match="are of the same part"):
        plan(grid_of(**wanted, pairs_from=[str(lender), str(twin)]))


def test_the_rounds_of_a_borrowed_run_count_and_not_the_grid_s(lender):
    tiny = {"name": "tiny", "path": str(lender), "label_names": ["a", "b"]}
    wanted = {"k": 4, "arm": "paraphrase", "generator": "gemma", "dataset": tiny}
    own = {"generator": {"rounds": ["guided"]}}
    with pytest.raises(ConfigError, match="is infill"):
        plan(grid_of(**wanted, settings=own, pairs_from=str(lender)))


def test_no_axis_is_to_change_counterfactuals_that_are_there(lender):
    grid = {"dataset": {"name": "tiny", "path": str(lender)}, "generator": "gemma", "k": 8}

    def planned(axis, values):
        section, key = axis.split(".")
        return plan(grid_of(**grid, vary={section: {key: values}}, pairs_from=str(lender)))

    with pytest.raises(ConfigError, match=r"pairs_from: .* know no generator\.candidates\."):
        planned("generator.candidates", [2, 4])
    assert len(planned("generator.select_originals", ["first", "active"])) == 2
    assert len(planned("verification.select", ["minimal", "fluent"])) == 2


def test_runs_of_a_sweep_that_choose_by_other_rules_share_their_candidates(
    tmp_path, lender, monkeypatch
):
    written = []

    def advance(session, until):
        run = session.run
        if not run.is_done("data"):
            with run.stage("data"):
                shutil.copytree(lender / "data", run.file("data"))
        if until == "teacher":
            _give_teacher(run, "a")
        if until == "verify" and not run.is_done("generate"):
            written.append(run.config.verification.select)
            with run.stage("generate"):
                for name in ("originals.jsonl", "candidates.jsonl", "verdicts.jsonl"):
                    shutil.copyfile(lender / name, run.file(name))
                shutil.copyfile(lender / "prompt.jinja", run.file("prompt.jinja"))

    monkeypatch.setattr(Session, "advance", advance)
    rules = {"select": ["minimal", "fluent"], "max_edit_distance": [0.3, 0.6]}
    grid = {"dataset": {"name": "tiny", "path": str(lender)}, "k": 8, "seeds": 1}
    sources = plan(grid_of(**grid, generator="gemma", vary={"verification": rules}))
    sweep = tmp_path / "sweep"
    foreseen = [ablation.state_of(one, sweep, sources[:at]) for at, one in enumerate(sources)]
    for source in sources:
        _, failed = ablation._prepared(source, source.cells, sweep, Console(-1))
        assert not failed
    # The largest edit steers the search, the rule of choice doesn't.
    assert written == ["minimal", "minimal"]
    lenders = [RunFolder(sweep / "runs" / one.name, one.config).facts("generate").get("taken_from")
               for one in sources]  # fmt: skip
    assert lenders == [None, None, *(str(sweep / "runs" / one.name) for one in sources[:2])]
    assert foreseen == [f"gemma, from {it}" if it else "gemma, to be written" for it in lenders]
    (later,) = plan(grid_of(**grid, generator="gemma", vary={"verification": {
        "select": ["diverse"], "max_edit_distance": [0.3]}}))  # fmt: skip
    assert ablation.state_of(later, sweep) == foreseen[2]
