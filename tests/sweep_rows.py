"""Rows of a made-up sweep."""

from codlocal.core.records import Metrics
from codlocal.evaluation.results import CellResult, SetFacts

FACTS = SetFacts(
    texts=8,
    pairs=4,
    singles=0,
    fill=0,
    edit_distance=0.25,
    boundary_distance=0.3,
    fisher_trace=1.0,
    fisher_log_determinant=0.5,
)


def row(arm, k, seed, agreement, **changes):
    metrics = Metrics(
        accuracy=agreement - 0.05,
        macro_f1=0.5,
        matthews=0.1,
        teacher_agreement=agreement,
        calibration_error=0.1,
        brier=0.2,
        boundary_agreement=None,
        boundary_n=0,
        n=100,
    )
    made = CellResult(
        key=f"{arm}-{k}-{seed}-{changes}",
        dataset="sst2",
        generator="gemma" if arm == "student" else None,
        method="kd",
        arm=arm,
        k=k,
        seed=seed,
        settings={},
        curve="1",
        teacher_accuracy=0.9,
        metrics=metrics,
        facts=FACTS,
    )
    return made.model_copy(update=changes)


def failed(arm, k, seed):
    return row(arm, k, seed, 0.5, metrics=None, facts=None, error="SetFit | is not there.")
