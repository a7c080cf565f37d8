"""Counterfactuals that people wrote, read by the teacher of a run."""

from pathlib import Path

from codlocal.core.console import Console
from codlocal.core.run import RunFolder
from codlocal.verification.measures import Measures
from codlocal.verification.reference import measure_pairs, read_pairs


def written(run: RunFolder, path: Path, console: Console) -> Measures:
    """Measure a file of pairs under the run's teacher.

    Raises:
        DataError: the file is missing, or is no file of pairs.
        RunError: the run has no teacher yet.
        ModelError: the teacher is gone or was changed.

    """
    from codlocal.models.devices import limit_threads
    from codlocal.models.teacher import load_teacher

    pairs = read_pairs(path)
    limit_threads(run.config.runtime.threads)
    teacher = load_teacher(run)
    with console.progress("Asking the teacher", len(pairs)) as task:
        found = measure_pairs(pairs, teacher)
        task.advance(len(pairs))
    return found
