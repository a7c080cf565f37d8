"""Counterfactuals that people wrote, measured by the same rule as a generator's."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import ConfigDict, ValidationError

from codlocal.core.errors import DataError
from codlocal.core.records import (
    Candidate,
    Example,
    Fluency,
    Original,
    Row,
    Teacher,
)
from codlocal.verification.choice import Evidence
from codlocal.verification.judge import judge
from codlocal.verification.measures import Measures, measure

_SHAPE = '{"text": …, "counterfactual": …}'


class WrittenPair(Row):
    """A text and what somebody made of it. Their labels are the writers', and aren't read.

    Nor is anything else that a line has: a run's own `pairs.jsonl` is such a file, too.
    """

    model_config = ConfigDict(extra="ignore")

    text: str
    counterfactual: str


def read_pairs(path: Path) -> list[WrittenPair]:
    """Read a JSON Lines file of pairs.

    Raises:
        DataError: the file is missing, or a line is no pair.

    """
    try:
        pairs = list(_rows(path))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} can't be read: {error}.", "Name a JSON Lines file.") from error
    if not pairs:
        raise DataError(f"{path} has no pairs.", f"One a line is expected: {_SHAPE}")
    return pairs


def _rows(path: Path) -> Iterator[WrittenPair]:
    with path.open(encoding="utf-8-sig") as handle:
        for number, line in enumerate(handle, start=1):
            if not line.strip():
                continue
            try:
                yield WrittenPair.model_validate_json(line)
            except ValidationError as error:
                first = error.errors()[0]
                what = ": ".join([*map(str, first["loc"][:1]), first["msg"]])
                raise DataError(
                    f"{path}, line {number}, is no pair: {what}.",
                    f"One a line is expected: {_SHAPE}",
                ) from error


def judged(pairs: Sequence[WrittenPair], teacher: Teacher) -> Evidence:
    """Written pairs as the teacher sees them; a flip is, as ever, a change of its own label.

    Several counterfactuals of a text are of one original.
    """
    texts = list(dict.fromkeys(pair.text for pair in pairs))
    originals = {
        text: Original(
            example_id=str(at), probabilities=tuple(map(float, row)), label=int(row.argmax())
        )
        for at, (text, row) in enumerate(zip(texts, teacher.predict_proba(texts), strict=True))
    }
    examples = {
        row.example_id: Example(id=row.example_id, text=text, label=row.label)
        for text, row in originals.items()
    }
    candidates = [
        _written(str(at), originals[pair.text], pair.counterfactual)
        for at, pair in enumerate(pairs)
    ]
    verdicts = judge(teacher, examples, candidates)
    return Evidence(
        examples=examples,
        originals={row.example_id: row for row in originals.values()},
        candidates={row.id: row for row in candidates},
        verdicts={row.candidate_id: row for row in verdicts},
    )


def _written(number: str, original: Original, text: str) -> Candidate:
    return Candidate(
        id=number, example_id=original.example_id, round=0, strategy="written",
        source_label=original.label, target_label=original.label, text=text,
    )  # fmt: skip


def scored(evidence: Evidence, score: Callable[[Sequence[str]], Sequence[Fluency]]) -> Evidence:
    """The evidence with scores of all flips and their originals, each text scored once."""
    flips = _flips(evidence)
    texts = [evidence.examples[evidence.candidates[one].example_id].text for one in flips]
    texts += [evidence.candidates[one].text or "" for one in flips]
    texts = list(dict.fromkeys(texts))
    known = dict(zip(texts, score(texts), strict=True)) if texts else {}
    return replace(
        evidence,
        originals={
            one: row.model_copy(update={"fluency": known.get(evidence.examples[one].text)})
            for one, row in evidence.originals.items()
        },
        verdicts={
            one: row.model_copy(update={"fluency": known.get(evidence.candidates[one].text or "")})
            for one, row in evidence.verdicts.items()
        },
    )


def measure_pairs(evidence: Evidence) -> Measures:
    """Measure written pairs.

    Every flip counts as good and as chosen: people's edits are shown as they are, however large.
    They cost no tokens; those of their scores are not counted.
    """
    flips = set(_flips(evidence))
    found = measure("people", list(evidence.candidates.values()), evidence, flips, flips)
    return found.model_copy(update={"tokens_per_pair": None})


def _flips(evidence: Evidence) -> list[str]:
    return [one for one, row in evidence.verdicts.items() if row.flipped]
