"""The run folder: its files, its lock, its manifest, and the rule by which a stage resumes.

A stage is `done` only when its outputs are whole. Asked again with the same settings it is
skipped; asked with other settings it is refused, so rows of two settings are never mixed.
"""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from codlocal.core import config as settings
from codlocal.core import jsonl, processes, run_lock
from codlocal.core.config import STAGES, Config
from codlocal.core.errors import CodlocalError, ConfigError, RunError
from codlocal.core.manifest import Manifest, StageRecord, read_manifest
from codlocal.core.outputs import BOOKS, OUTPUTS


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


class RunFolder:
    """One run on disk. Open it with `RunFolder.open`, which locks it against a second process."""

    def __init__(self, path: Path, config: Config) -> None:
        self.path = path
        self.config = config
        self.archive: Path | None = None
        """Where old results were set aside when it was opened."""
        self._saved = False
        # Of running stages: when on the monotonic clock, had there been one attempt alone.
        self._begun: dict[str, float] = {}

    def file(self, *parts: str) -> Path:
        """A path inside the run folder."""
        return self.path.joinpath(*parts)

    @classmethod
    @contextmanager
    def open(cls, path: Path, config: Config, *, redo: str | None = None) -> Iterator["RunFolder"]:
        """Create or reopen a run folder, lock it, and save the configuration in it.

        The results of the stage `redo` and of all later ones are set aside, once it is known that
        the stages before had the same settings. Of several processes the first one does all this;
        the others wait for it, and only read.

        A folder made for it is removed if an error of ours comes before the run's first row; in
        one that was there run.toml is left as it was if the error comes before any further row.

        Raises:
            RunError: it is no run folder, another process works on it, or a finished stage had
                other settings.

        """
        if not processes.is_first():
            processes.wait("the run's folder")
            yield cls(path, settings.resolve([settings.read_toml(path / "run.toml")]))
            return
        run = cls(path, config)
        run.refuse_strange_folder()
        made = [one for one in (path, *path.parents) if not one.exists()]
        path.mkdir(parents=True, exist_ok=True)
        with run_lock.locked(path):
            run._saved = run.file("manifest.json").exists()
            with _none_left_of_a_refusal(made):
                run.refuse_changed_settings(redo)
                if redo:
                    run.archive = run._set_aside(redo)
                with run._settings_saved():
                    processes.wait("the run's folder")
                    yield run

    @contextmanager
    def _settings_saved(self) -> Iterator[None]:
        """Have the settings in run.toml; those before them again if nothing came of these."""
        path, before = self.file("run.toml"), self._results()
        earlier = path.read_bytes() if path.exists() else None
        jsonl.write_text(path, self.config.to_toml())
        try:
            yield
        except CodlocalError:
            if earlier is not None and not self.archive and self._results() == before:
                jsonl.write_bytes(path, earlier)
            raise

    def _results(self) -> set[tuple[str, int]]:
        """The files with rows and results, and how long they are; the stages that are done."""
        places = [self.file(name) for names in OUTPUTS.values() for name in names]
        files = [one for place in places for one in (place, *place.rglob("*")) if one.is_file()]
        done = {(stage, 0) for stage in STAGES if self.is_done(stage)}
        return done | {(str(one), one.stat().st_size) for one in files}

    def refuse_strange_folder(self) -> None:
        """Refuse a folder that has other things than a run's in its files' places.

        Raises:
            RunError: that is so.

        """
        if self.path.exists() and not self.path.is_dir():
            raise RunError(f"{self.path} is a file, not a run folder.", "Choose another --run.")
        _refuse_bytes(self.path)
        if self.file("manifest.json").exists():
            return
        found = [name for names in OUTPUTS.values() for name in names if self.file(name).exists()]
        if found:
            raise RunError(
                f"{self.path} is no run folder, and its own {found[0]} would be overwritten.",
                "Choose another --run.",
            )

    @staticmethod
    def saved_settings(path: Path) -> dict[str, Any] | None:
        """The settings that a run folder's rows were made with; None as long as it has none.

        Raises:
            RunError: they are gone, or this version of codlocal does not know them.

        """
        saved, run = path / "run.toml", RunFolder(path, Config())
        if not saved.is_file() and not run.file("manifest.json").is_file():
            return None
        if not any(run.is_done(stage) or run._has_outputs(stage) for stage in STAGES):
            return None
        if not saved.is_file() or not saved.stat().st_size:
            raise RunError(
                f"{saved}, with the settings of the run, is missing or empty.",
                "Restore it from a copy, or choose another --run.",
            )
        found = settings.read_toml(saved)
        try:
            settings.resolve([found])
        except ConfigError as error:
            raise RunError(
                f"{saved} is of another version of codlocal, or was changed by hand. "
                + error.message,
                "Correct the file, or choose another --run.",
            ) from error
        return found

    @property
    def manifest(self) -> Manifest:
        """The manifest as it is on disk.

        Raises:
            RunError: the file is damaged, of another version of codlocal, or gone.

        """
        path = self.file("manifest.json")
        found = read_manifest(path)
        if found is None and self._saved:
            raise RunError(
                f"{path} has gone while the run was at work.",
                "Restore the folder from a copy, or start a new --run.",
            )
        return found or Manifest(created=_now())

    def _save(self, stage: str, record: StageRecord) -> None:
        if not processes.is_first():
            return
        if stage in self._begun:
            seconds = round(time.monotonic() - self._begun[stage], 3)
            record = record.model_copy(update={"seconds": seconds})
        manifest = self.manifest
        updated = manifest.model_copy(update={"stages": {**manifest.stages, stage: record}})
        jsonl.write_json(self.file("manifest.json"), updated.model_dump(mode="json"))
        self._saved = True

    def refuse_changed_settings(self, redo: str | None = None) -> None:
        """Check the settings of every stage that has begun, or of those before the stage `redo`.

        Raises:
            RunError: one had other settings.

        """
        found, stages = self.manifest.stages, STAGES[: STAGES.index(redo)] if redo else STAGES
        for stage, record in ((name, found[name]) for name in stages if name in found):
            if record.status == "running" and not self._has_outputs(stage):
                continue  # it failed before its first row: its settings may be corrected
            changed = settings.differences(record.settings, self.config.stage_settings(stage))
            if record.status == "running":
                changed += self.steering_changes(stage)
            if changed:
                raise RunError(
                    f"The run {self.path} was made with other settings for its {stage} stage:\n  "
                    + "\n  ".join(changed),
                    f"Choose another --run, or add --redo {stage} to set the old results aside.",
                )

    def steering_changes(self, stage: str) -> list[str]:
        """In what the settings that steered a stage differ from those of now, as far as known."""
        record = self.manifest.stages.get(stage)
        known = record is not None and record.steering
        return settings.differences(known, self.config.steering(stage)) if known else []

    def _has_outputs(self, stage: str) -> bool:
        return any(self.file(output).exists() for output in OUTPUTS[stage])

    def is_done(self, stage: str) -> bool:
        """Whether a stage's outputs are whole."""
        record = self.manifest.stages.get(stage)
        return record is not None and record.status == "done"

    def missing(self, until: str = STAGES[-1], redo: str | None = None) -> list[str]:
        """The stages up to one that are not done, or will not be once `redo` is set aside."""
        kept = STAGES[: STAGES.index(redo)] if redo else STAGES
        wanted = STAGES[: STAGES.index(until) + 1]
        return [stage for stage in wanted if stage not in kept or not self.is_done(stage)]

    def facts(self, stage: str) -> dict[str, Any]:
        """What a finished or running stage said of itself."""
        record = self.manifest.stages.get(stage)
        return dict(record.facts) if record else {}

    def note(self, stage: str, **facts: object) -> None:
        """Add to what a running stage says of itself, at once."""
        record = self.manifest.stages[stage]
        self._save(stage, record.model_copy(update={"facts": {**record.facts, **facts}}))

    @contextmanager
    def stage(self, name: str, *, steered: bool = True) -> Iterator[dict[str, Any]]:
        """Run one stage: yields its facts to fill in, and marks it done when it ends well.

        What an earlier attempt with the same settings noted holds unless this one says otherwise.

        Args:
            name: of the stage.
            steered: whether later stages' settings count; not if its rows are another run's.

        """
        earlier, settings = self.manifest.stages.get(name), self.config.stage_settings(name)
        record = StageRecord(
            status="running",
            settings=settings,
            steering=self.config.steering(name) if steered else {},
            started=earlier.started if earlier else _now(),
            seconds=earlier.seconds if earlier else 0.0,
            facts=earlier.facts if earlier and earlier.settings == settings else {},
        )
        self._begun[name] = time.monotonic() - record.seconds
        self._save(name, record)
        facts: dict[str, Any] = {}
        status = "running"
        try:
            yield facts
            status = "done"
        finally:
            noted = {**self.facts(name), **facts}
            self._save(name, record.model_copy(update={"status": status, "facts": noted}))
            del self._begun[name]

    def _set_aside(self, stage: str) -> Path | None:
        """Move the outputs of a stage and of all later ones to `RUN/archive/N`; return that folder.

        The manifest comes last, and later stages first: whenever it is interrupted, what is left
        can't be taken for results of other settings.
        """
        if not self.file("manifest.json").exists():
            return None
        later = STAGES[STAGES.index(stage) :]
        taken = [int(one.name) for one in self.path.glob("archive/*") if one.name.isdecimal()]
        archive = self.file("archive", str(max(taken, default=0) + 1))
        archive.mkdir(parents=True)
        shutil.copy2(self.file("manifest.json"), archive)
        for output in (name for one in reversed(later) for name in OUTPUTS[one]):
            if self.file(output).exists():
                self.file(output).replace(archive / output)
        manifest = self.manifest
        kept = {name: record for name, record in manifest.stages.items() if name not in later}
        updated = manifest.model_copy(update={"stages": kept})
        jsonl.write_json(self.file("manifest.json"), updated.model_dump(mode="json"))
        return archive


def _refuse_bytes(path: Path) -> None:
    """Libraries that write models take names in UTF-8 alone."""
    try:
        str(path.absolute()).encode()
    except UnicodeEncodeError as error:
        raise RunError(f"The name of {path} is not UTF-8.", "Choose another --run.") from error


@contextmanager
def _none_left_of_a_refusal(made: list[Path]) -> Iterator[None]:
    """Remove a new run folder, and those above made for it, at an error before its first row."""
    try:
        yield
    except CodlocalError:
        if made and made[0].is_dir() and {one.name for one in made[0].iterdir()} <= BOOKS:
            shutil.rmtree(made[0])
            with suppress(OSError):  # a folder above it has become another run's, too
                for parent in made[1:]:
                    parent.rmdir()
        raise
