"""What ends the search for an original: a flip that the verify stage can take."""

from contextlib import contextmanager

from fakes import FakeEngine, FakeTeacher
from runs import config, run_with_data

from codlocal.core import jsonl
from codlocal.core.console import Console
from codlocal.core.records import Candidate, Verdict
from codlocal.generation.stage import Verification, run_generate
from codlocal.pipeline.session import verification_of

ROUNDS = {"rounds": ["guided", "free"]}


def generate(run, engine=None, verification=None):
    teacher = FakeTeacher()

    @contextmanager
    def open_engine():
        yield engine or FakeEngine()

    verification = verification or verification_of(run, teacher)
    run_generate(run, open_engine, teacher, verification, Console(-1))
    rows = list(jsonl.read_rows(run.file("candidates.jsonl"), Candidate))
    return {row.round for row in rows}


def elsewhere(_examples, rows):
    """Every candidate flips, into a third label."""
    return [
        Verdict(candidate_id=row.id, example_id=row.example_id, probabilities=(0.1, 0.2, 0.7),
                label=2, flipped=True, edits=1, edit_distance=0.1)
        for row in rows
    ]  # fmt: skip


def test_where_the_settings_choose_the_target_another_label_ends_nothing(tmp_path):
    accept_all = Verification(elsewhere, lambda _originals: lambda _verdict, _original: True)
    for targets, rounds in (("runner-up", {0}), ("confusion", {0, 1}), ("all", {0, 1})):
        settings = config(generator={**ROUNDS, "targets": targets})
        with run_with_data(tmp_path / targets, settings) as run:
            assert generate(run, verification=accept_all) == rounds
