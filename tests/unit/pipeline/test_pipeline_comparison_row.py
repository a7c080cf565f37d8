"""What a comparison tells of one generator, whose originals may have several counterfactuals."""

from runs import config, edits_of_the_first, run_with_data, write_search

from codlocal.core.console import Console
from codlocal.core.records import Original
from codlocal.core.statistics import wilson
from codlocal.pipeline import comparison
from codlocal.pipeline.comparison import Contender
from codlocal.verification.stage import run_verify

EDITS = (
    "The food was bad and the staff rude.",
    "The food was awful and the staff dirty.",
    "The food was good and the staff so friendly.",
)


def test_an_original_with_several_pairs_is_counted_once(tmp_path, monkeypatch):
    monkeypatch.setattr(comparison, "read_metrics", lambda _run: {})
    rows = edits_of_the_first(EDITS)
    asked = [
        Original(example_id=f"train/{at}", probabilities=(0.5, 0.5), label=1 - at) for at in (0, 1)
    ]
    with run_with_data(tmp_path, config(verification={"per_example": 2})) as run:
        write_search(run, rows, asked)
        run.note("generate", completion_tokens=30)
        run_verify(run, Console(-1))
        row = comparison._row(Contender("a", "models/a", "chat"), run)
    assert (row["originals"], row["candidates"], row["flips"]) == (2, 3, 2)
    assert (row["pairs"], row["paired"]) == (2, 1)
    assert row["intervals"]["paired_rate"] == list(wilson(1, 2))
