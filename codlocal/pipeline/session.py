"""One run from its first stage to its last; every stage brings those before it up to date."""

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codlocal.core import artifacts, processes
from codlocal.core.console import Console
from codlocal.core.records import Original, Teacher, Verdict
from codlocal.core.run import RunFolder
from codlocal.pipeline import preflight

if TYPE_CHECKING:
    from codlocal.evaluation.predictions import TestSplit
    from codlocal.generation.stage import FlipTest, Verification
    from codlocal.models.classifier import Classifier

_SHARED = {"distill"}
"""Stages in which every process of a launch has a share; the others are the first one's."""


class Session:
    """Runs stages of one run folder; the teacher is loaded at most once, and only if needed."""

    def __init__(self, run: RunFolder, console: Console) -> None:
        self.run = run
        self.console = console

    @cached_property
    def _teacher(self) -> "Classifier":
        from codlocal.models.teacher import load_teacher

        with self.console.progress("Loading the teacher", None):
            return load_teacher(self.run)

    @cached_property
    def _test(self) -> "TestSplit":
        """The test texts, and what the teacher says of them."""
        from codlocal.evaluation.predictions import teacher_split
        from codlocal.models.teacher import read_teacher

        identity = read_teacher(self.run).identity
        return teacher_split(self.run, identity, lambda: self._teacher, self.console)

    def advance(self, until: str) -> list[str]:
        """Bring the run up to a stage; return the stages that had something to do."""
        missing = self.run.missing(until)
        # All have seen the same before any stage is changed.
        processes.wait(f"the stages to do: {', '.join(missing) or 'none'}")
        runners = {
            "data": self._data,
            "teacher": self._train_teacher,
            "generate": self._generate,
            "verify": self._verify,
            "distill": self._distill,
            "evaluate": self._evaluate,
        }
        preflight.check_machine(self.run, until)
        if "distill" in missing:
            preflight.warn_of_budget(self.run.config, self.console)
        heavy = [stage for stage in missing if stage in preflight.HEAVY]
        # The hours of a pipeline are spent in these.
        hours = [stage for stage in heavy if stage in {"generate", "distill"}]
        for stage in missing:
            if heavy and stage == heavy[0]:
                self._prepare(generates="generate" in heavy)
            if until == "evaluate" and hours and stage == hours[0] and processes.is_first():
                self._tell_of_teacher()
            if processes.is_first() or stage in _SHARED:
                runners[stage]()
            processes.wait(f"the {stage} stage")
        return missing

    def borrow(self, lender: Path) -> None:
        """Do the generate stage with the counterfactuals of another run.

        Raises:
            RunError: the other run has other data, another teacher, or not all originals.

        """
        from codlocal.pipeline.lending import borrow

        if not self.run.is_done("generate"):
            self.order_originals()
            borrow(self.run, lender)

    def order_originals(self) -> None:
        """Have the teacher choose which texts come first, if the settings ask for it."""
        from codlocal.pipeline.originals import order_originals

        order_originals(self.run, lambda: self._teacher)

    def _prepare(self, *, generates: bool) -> None:
        """Before the first stage that takes long: what it would end in must be there."""
        from codlocal.models.devices import limit_threads

        if generates:
            from codlocal.pipeline.opening import check_same_generator

            preflight.check_engine(self.run.config)
            check_same_generator(self.run)
            preflight.check_prompt(self.run, artifacts.read_spec(self.run))
            preflight.fetch_generator(self.run.config, self.console)
        preflight.warn_of_low_disk(self.run.path, self.console)
        limit_threads(self.run.config.runtime.threads)

    def _tell_of_teacher(self) -> None:
        """Say what the teacher is worth, before anything is written or trained for it."""
        split = self._test
        accuracy, texts = split.teacher_accuracy, len(split.examples)
        self.console.info(f"The teacher is right about {accuracy:.3f} of the {texts} test texts.")
        if split.majority == 1:
            self.console.warn("They have one label only: that says little of a teacher.")
        elif accuracy <= split.majority:
            self.console.warn(
                f"To give all of them their commonest label would be right about "
                f"{split.majority:.3f}. Such a teacher has nothing to teach: more training texts "
                "or teacher.epochs may help, or another --teacher."
            )

    def _data(self) -> None:
        from codlocal.data.stage import run_data

        run_data(self.run, self.console)

    def _train_teacher(self) -> None:
        from codlocal.distillation.finetune import run_teacher

        run_teacher(self.run, self.console)

    def _generate(self) -> None:
        from codlocal.generation.stage import run_generate
        from codlocal.pipeline.opening import open_engine

        self.order_originals()
        with self.console.progress("Learning how the training texts use words", None):
            verification = verification_of(self.run, self._teacher)
        run_generate(
            self.run,
            lambda: open_engine(self.run, self.console),
            self._teacher,
            verification,
            self.console,
        )

    def _verify(self) -> None:
        from codlocal.verification.stage import run_verify

        run_verify(self.run, self.console)

    def _distill(self) -> None:
        from codlocal.distillation.stage import run_distill

        run_distill(self.run, self._teacher, self.console)

    def _evaluate(self) -> None:
        from codlocal.evaluation.stage import run_evaluate
        from codlocal.models.student import load_student

        labels = artifacts.read_spec(self.run).label_names
        run_evaluate(
            self.run,
            lambda path: load_student(self.run.config, path, labels),
            self._test,
            self.console,
        )


def verification_of(run: RunFolder, teacher: Teacher) -> "Verification":
    """What the search is told of the verify stage: the teacher's verdicts, and what is good."""
    from codlocal.generation.stage import Verification
    from codlocal.verification.duplicates import alike
    from codlocal.verification.judge import judge
    from codlocal.verification.selection import learn_gate, refusal, wanting
    from codlocal.verification.stage import read_unusable
    from codlocal.verification.vocabulary import Vocabulary

    vocabulary = Vocabulary.of(artifacts.corpus(run))

    def learn(originals: Iterable[Original]) -> "tuple[FlipTest, FlipTest]":
        gate = learn_gate(originals, run.config.verification)

        def good(verdict: Verdict, original: Original) -> bool:
            return refusal(verdict, original, gate) is None

        def ends_the_search(verdict: Verdict, original: Original) -> bool:
            return good(verdict, original) and not wanting(verdict, original, gate)

        return good, ends_the_search

    return Verification(
        lambda examples, rows: judge(teacher, examples, rows, vocabulary),
        learn,
        read_unusable(run),
        alike,
    )


def manifest_summary(run: RunFolder) -> dict[str, Any]:
    """What `--json` prints of a run: its folder, and each stage's status and facts."""
    return {
        "run": str(run.path),
        "stages": {
            name: {"status": record.status, "seconds": record.seconds, **record.facts}
            for name, record in run.manifest.stages.items()
        },
    }
