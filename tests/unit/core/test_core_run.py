import json
import shutil
import tomllib
from contextlib import suppress
from pathlib import Path

import pytest

from codlocal import __version__
from codlocal.core import jsonl
from codlocal.core.config import Config, resolve
from codlocal.core.errors import RunError
from codlocal.core.run import RunFolder


def opened(path, config=None, redo=None):
    return RunFolder.open(path, config or Config(), redo=redo)


def settings_of(config):
    return tomllib.loads(config.to_toml())


def redo(path, stage, config=None):
    """Open the run to do a stage anew; where the old results are."""
    with opened(path, config, stage) as run:
        return run.archive


def finish(path, *stages, config=None):
    with opened(path, config) as run:
        for stage in stages:
            with run.stage(stage) as facts:
                facts["rows"] = len(stage)


def test_a_new_folder_is_made_and_its_settings_are_saved(tmp_path):
    path = tmp_path / "deep" / "run"
    assert RunFolder.saved_settings(path) is None
    config = resolve([{"dataset": {"k": 8}}])
    with opened(path, config) as run:
        assert run.file("data", "x") == path / "data" / "x"
        assert not run.is_done("data")
        assert run.facts("data") == {}
        assert RunFolder.saved_settings(path) is None
        with run.stage("data"):
            pass
    assert resolve([RunFolder.saved_settings(path)]) == config


def test_a_stage_is_done_when_it_ends_well(tmp_path):
    with opened(tmp_path) as run:
        with run.stage("data") as facts:
            facts["rows"] = 3
            assert run.manifest.stages["data"].status == "running"
        assert run.is_done("data")
        assert run.facts("data") == {"rows": 3}
        record = run.manifest.stages["data"]
        assert record.settings == Config().stage_settings("data")
        assert record.seconds >= 0


def test_an_interrupted_stage_is_not_done_and_goes_on_with_its_facts(tmp_path):
    with opened(tmp_path) as run, pytest.raises(KeyboardInterrupt), run.stage("data") as facts:
        facts["rows"] = 3
        raise KeyboardInterrupt
    with opened(tmp_path) as run:
        assert not run.is_done("data")
        started = run.manifest.stages["data"].started
        with run.stage("data"):
            assert run.facts("data") == {"rows": 3}
        assert run.is_done("data")
        assert run.facts("data") == {"rows": 3}
        assert run.manifest.stages["data"].started == started


def test_what_the_last_attempt_says_of_a_stage_holds(tmp_path):
    with opened(tmp_path) as run:
        for rows in (3, 4):
            with suppress(KeyboardInterrupt), run.stage("data") as facts:
                facts["rows"] = rows
                raise KeyboardInterrupt
        assert run.facts("data") == {"rows": 4}
        with run.stage("data") as facts:
            facts["rows"] = 5
        assert run.facts("data") == {"rows": 5}


def test_what_an_attempt_with_other_settings_said_is_gone(tmp_path):
    with opened(tmp_path) as run, suppress(KeyboardInterrupt), run.stage("data") as facts:
        facts["rows"] = 3
        raise KeyboardInterrupt
    with opened(tmp_path, resolve([{"dataset": {"k": 8}}])) as run, run.stage("data"):
        assert run.facts("data") == {}


def test_a_killed_attempt_has_its_seconds_up_to_what_it_noted_last(tmp_path, monkeypatch):
    now = 0.0
    monkeypatch.setattr("codlocal.core.run.time.monotonic", lambda: now)
    with opened(tmp_path) as run:
        with run.stage("data"):
            now = 3.0
            run.note("data", rows=3)
            at_the_kill = run.file("manifest.json").read_bytes()
            now = 5.0
        run.file("manifest.json").write_bytes(at_the_kill)
    with opened(tmp_path) as run:
        with run.stage("data"):
            now = 7.0
        assert run.manifest.stages["data"].seconds == 5
        now = 20.0
        run.note("data", rows=4)
        assert run.manifest.stages["data"].seconds == 5  # it is done


def test_changed_settings_are_refused_and_named(tmp_path):
    finish(tmp_path, "data")
    with (
        pytest.raises(RunError, match=r"dataset.k: 32 -> 8") as caught,
        opened(tmp_path, resolve([{"dataset": {"k": 8}}])),
    ):
        pass
    assert "--redo data" in caught.value.hint
    with opened(tmp_path, resolve([{"distillation": {"steps": 5}, "runtime": {"offline": True}}])):
        pass


def test_settings_may_change_until_a_stage_has_outputs(tmp_path):
    other = resolve([{"dataset": {"k": 8}}])
    with opened(tmp_path) as run, pytest.raises(KeyboardInterrupt), run.stage("data"):
        raise KeyboardInterrupt
    with opened(tmp_path, other) as run, pytest.raises(KeyboardInterrupt), run.stage("data"):
        jsonl.write_text(run.file("data", "train.jsonl"), "")
        raise KeyboardInterrupt
    with pytest.raises(RunError, match=r"dataset.k: 8 -> 32"), opened(tmp_path):
        pass


def test_a_refused_command_leaves_the_settings_as_they_were(tmp_path):
    finish(tmp_path, "data")
    before = tmp_path.joinpath("run.toml").read_bytes()
    other = resolve([{"runtime": {"port": 8123}}])
    with pytest.raises(RunError), opened(tmp_path, other) as run, run.stage("generate"):
        raise RunError("Not with this one.")
    assert tmp_path.joinpath("run.toml").read_bytes() == before
    for name in ("candidates.jsonl", "students/student-seed0/model.safetensors"):
        with pytest.raises(RunError), opened(tmp_path, other) as run:
            run.file(name).parent.mkdir(parents=True, exist_ok=True)
            run.file(name).write_text("a row")
            raise RunError("Half way.")
        assert RunFolder.saved_settings(tmp_path) == settings_of(other)
        with opened(tmp_path):
            assert RunFolder.saved_settings(tmp_path) == settings_of(Config())


def test_unreadable_settings_of_a_run_not_begun_are_no_second_error(tmp_path):
    tmp_path.joinpath("run.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(RunError, match="Not with this one"), opened(tmp_path):
        raise RunError("Not with this one.")
    assert tmp_path.joinpath("run.toml").read_bytes() == b"\xff\xfe"


def test_settings_whose_redo_was_begun_stay(tmp_path):
    finish(tmp_path, "data")
    other = resolve([{"dataset": {"k": 8}}])
    with pytest.raises(RunError), opened(tmp_path, other, "data") as run:
        assert run.archive
        raise RunError("Not now.")
    assert "k = 8\n" in tmp_path.joinpath("run.toml").read_text()


@pytest.mark.parametrize("content", ["{", "{}", "[]", '{"created": "x", "more": 1}', "[" * 100_000])
def test_a_damaged_manifest_is_said(tmp_path, content):
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(RunError, match="is damaged"), opened(tmp_path):
        pass


@pytest.mark.parametrize("version", ["99.0", __version__])
def test_a_manifest_of_another_version_is_not_called_damaged(tmp_path, version):
    finish(tmp_path, "data")
    path = tmp_path / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "version": version, "machine": "x"}))
    with pytest.raises(RunError, match="is of another version") as caught, opened(tmp_path):
        pass
    assert f"its own version is {version}" in caught.value.message
    assert "version that made it" in caught.value.hint


def test_redo_sets_the_stage_and_all_later_ones_aside(tmp_path):
    finish(tmp_path, "data", "verify", "evaluate")
    jsonl.write_text(tmp_path / "data" / "train.jsonl", "")
    for name in ("pairs.jsonl", "metrics.json"):
        (tmp_path / name).write_text(name)
    archive = redo(tmp_path, "verify")
    assert archive == tmp_path / "archive" / "1"
    assert (archive / "pairs.jsonl").read_text() == "pairs.jsonl"
    assert (archive / "metrics.json").exists() and not (tmp_path / "metrics.json").exists()
    assert (tmp_path / "data" / "train.jsonl").exists()
    assert set(json.loads((archive / "manifest.json").read_text())["stages"]) == {
        "data",
        "verify",
        "evaluate",
    }
    with opened(tmp_path) as run:
        assert run.archive is None
        assert run.is_done("data") and not run.is_done("verify")
    assert redo(tmp_path, "data") == tmp_path / "archive" / "2"
    assert not (tmp_path / "data").exists()


def test_an_old_archive_may_be_deleted(tmp_path):
    finish(tmp_path, "data")
    archives = [redo(tmp_path, "data") for _ in range(3)]
    shutil.rmtree(archives[0])
    assert redo(tmp_path, "data") == tmp_path / "archive" / "4"


def test_nothing_is_set_aside_in_a_new_folder(tmp_path):
    assert redo(tmp_path / "run", "data") is None


def test_other_settings_are_welcome_after_setting_aside(tmp_path):
    finish(tmp_path, "data")
    other = resolve([{"dataset": {"k": 8}}])
    assert redo(tmp_path, "data", other)
    finish(tmp_path, "data", config=other)


def test_nothing_is_set_aside_if_an_earlier_stage_has_other_settings(tmp_path):
    finish(tmp_path, "data", "verify")
    jsonl.write_text(tmp_path / "pairs.jsonl", "")
    before = (tmp_path / "manifest.json").read_bytes()
    other = resolve([{"dataset": {"k": 8}}])
    with pytest.raises(RunError, match="for its data stage") as caught:
        redo(tmp_path, "verify", other)
    assert "--redo data" in caught.value.hint
    assert (tmp_path / "pairs.jsonl").exists() and not (tmp_path / "archive").exists()
    assert (tmp_path / "manifest.json").read_bytes() == before
    assert redo(tmp_path, "data", other)


def test_nothing_is_set_aside_under_a_process_that_works_on_it(tmp_path):
    finish(tmp_path, "data")
    jsonl.write_text(tmp_path / "data" / "train.jsonl", "")
    with opened(tmp_path) as run:
        with pytest.raises(RunError, match="Another codlocal process"):
            redo(tmp_path, "data")
        assert run.is_done("data") and run.file("data", "train.jsonl").exists()


def test_results_that_are_half_set_aside_are_not_taken_for_those_of_other_settings(
    tmp_path, monkeypatch
):
    finish(tmp_path, "data", "generate")
    jsonl.write_text(tmp_path / "candidates.jsonl", "")
    jsonl.write_text(tmp_path / "replies.jsonl", "")
    move = Path.replace

    def killed(self, target):
        if self.name == "candidates.jsonl":
            raise KeyboardInterrupt
        return move(self, target)

    other = resolve([{"generator": {"candidates": 2}}])
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "replace", killed)
        redo(tmp_path, "generate", other)
    with pytest.raises(RunError, match="with other settings"), opened(tmp_path, other):
        pass
    assert redo(tmp_path, "generate", other) == tmp_path / "archive" / "2"


def test_settings_of_another_version_are_named_with_their_file(tmp_path):
    finish(tmp_path, "data")
    saved = tmp_path / "run.toml"
    saved.write_text(saved.read_text().replace("[generator]", "[generator]\nbeams = 3"))
    with pytest.raises(RunError, match=r"generator\.beams") as caught:
        RunFolder.saved_settings(tmp_path)
    assert str(saved) in caught.value.message
    assert "another --run" in caught.value.hint


def test_what_is_noted_in_the_midst_of_a_stage_is_kept_with_its_facts(tmp_path):
    with opened(tmp_path) as run:
        with run.stage("generate") as facts:
            facts["flips"] = 2
            run.note("generate", asked=5)
            assert run.facts("generate") == {"asked": 5}
        assert run.facts("generate") == {"flips": 2, "asked": 5}
        with run.stage("generate"):
            run.note("generate", asked=6)
        assert run.facts("generate") == {"flips": 2, "asked": 6}


STRICT = resolve([{"verification": {"per_example": 3, "max_edit_distance": 0.1}}])


def interrupt_generation(path):
    with opened(path) as run, pytest.raises(KeyboardInterrupt), run.stage("generate"):
        jsonl.write_text(run.file("candidates.jsonl"), "")
        raise KeyboardInterrupt


def test_a_half_done_search_is_not_continued_under_another_gate(tmp_path):
    interrupt_generation(tmp_path)
    for stage in (None, "verify"):
        with pytest.raises(RunError, match=r"generate stage:\n  verification.max_edit") as caught:
            redo(tmp_path, stage, STRICT)
        assert "verification.per_example: 1 -> 3" in caught.value.message
        assert "--redo generate" in caught.value.hint
    with opened(tmp_path, resolve([{"verification": {"select": "fluent", "min_pairs": 0}}])):
        pass
    assert redo(tmp_path, "generate", STRICT)


def test_whole_candidates_may_be_verified_anew_under_another_gate(tmp_path):
    finish(tmp_path, "generate", "verify")
    with pytest.raises(RunError, match="its verify stage"), opened(tmp_path, STRICT):
        pass
    with opened(tmp_path, STRICT, "verify") as run:
        assert run.steering_changes("generate") == [
            "verification.max_edit_distance: 0.6 -> 0.1", "verification.per_example: 1 -> 3",
        ]  # fmt: skip
        assert run.steering_changes("verify") == run.steering_changes("data") == []


def test_a_run_that_knows_nothing_of_its_gate_still_opens(tmp_path):
    interrupt_generation(tmp_path)
    path = tmp_path / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["stages"]["generate"]["steering"]
    path.write_text(json.dumps(manifest))
    with opened(tmp_path, STRICT) as run:
        assert run.steering_changes("generate") == []
        with run.stage("generate", steered=False):
            pass
        assert run.manifest.stages["generate"].steering == {}
