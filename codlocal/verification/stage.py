"""The verify stage: complete the verdicts, choose the pairs, keep the rest with its reason."""

import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

from codlocal.core import artifacts, jsonl
from codlocal.core.console import Console
from codlocal.core.errors import QualityError, RunError
from codlocal.core.jsonl import RowT
from codlocal.core.records import (
    Candidate,
    CounterfactualPair,
    Original,
    Rejection,
    Verdict,
)
from codlocal.core.run import RunFolder
from codlocal.core.sections import GeneratorConfig
from codlocal.core.texts import normalised
from codlocal.verification.choice import NOT_ASKED, Evidence, choose, sieve
from codlocal.verification.measures import measure_generation
from codlocal.verification.report import GENERATION


def run_verify(run: RunFolder, console: Console) -> None:
    """Write pairs.jsonl, rejections.jsonl and generation.json from candidates and verdicts.

    Raises:
        RunError: there are no candidates yet.
        QualityError: fewer pairs than `verification.min_pairs`.

    """
    if run.is_done("verify"):
        return
    if not run.is_done("generate"):
        raise RunError(
            f"The run {run.path} has no complete candidates yet.",
            f"Run `codlocal generate --run {run.path}` first.",
        )
    _say_what_changed(run, console)
    with run.stage("verify") as facts:
        facts.update(_choose(run, read_evidence(run)))
        if unasked := facts["reasons"].get(NOT_ASKED):
            console.warn(f"{unasked} originals have no pair, as {NOT_ASKED}.")
        if facts["pairs"] < run.config.verification.min_pairs:
            raise QualityError(
                f"Only {facts['pairs']} verified pairs of {facts['originals']} originals, and "
                f"verification.min_pairs asks for {run.config.verification.min_pairs}.",
                f"{_advice(facts, run.config.generator)}; "
                f"the reasons are in {run.file('rejections.jsonl')}.",
            )
    wanting = f"; {facts['wanting']} pairs strain or are in doubt" if facts["wanting"] else ""
    console.info(
        f"Verified: {facts['pairs']} pairs of {facts['originals']} originals, "
        f"{facts['flips']} flips among {facts['candidates']} candidates{wanting}"
    )


def _advice(facts: Mapping[str, Any], settings: GeneratorConfig) -> str:
    """What may bring more pairs; what an engine refuses is mostly too long for its context."""
    refused = sum(count for reason, count in facts["reasons"].items() if "refused: " in reason)
    if 2 * refused > facts["candidates"]:
        return (
            f"{refused} of {facts['candidates']} candidates were refused by the engine. If the "
            "prompts are too long, ask again with a longer context: --set "
            "runtime.max_model_len=8192 --redo generate (a server of your own: --max-model-len)"
        )
    if not facts["candidates"] and settings.max_tokens:
        return "Raise --max-tokens, and add --redo generate"
    bounds = ("max_candidates", "max_tokens", "max_rounds")
    bound = [f"--{name.replace('_', '-')}" for name in bounds if getattr(settings, name)]
    raised = f"Raise {' and '.join(bound)}, ask" if bound else "Ask"
    return (
        f"{raised} for more --candidates, or try another --generator, each with --redo generate (a "
        "sweep has them as settings of `generator`)"
    )


def _say_what_changed(run: RunFolder, console: Console) -> None:
    """Candidates may be verified anew by other rules, but that is no run from the start."""
    changed = run.steering_changes("generate")
    if changed:
        console.warn(
            "The candidates were written under earlier settings, which a new run would not have:"
            "\n  " + "\n  ".join(changed) + "\nAdd --redo generate to write them anew."
        )


def _choose(run: RunFolder, evidence: Evidence) -> dict[str, Any]:
    """Choose the pairs, write the stage's files, and return its facts."""
    settings, labels = run.config.verification, artifacts.read_spec(run).label_names
    as_asked = run.config.generator.targets == "confusion"
    good, refused = sieve(evidence, settings)
    pairs, passed_over = choose(good, evidence, settings, as_asked=as_asked)
    generation = measure_generation(
        evidence,
        {row.id for rows in good.values() for row in rows},
        {pair.candidate_id for pair in pairs},
        labels,
        _seconds(run),
    )
    jsonl.write_rows(run.file("rejections.jsonl"), [*refused, *passed_over])
    jsonl.write_rows(run.file("pairs.jsonl"), pairs)
    jsonl.write_json(run.file(GENERATION), generation.model_dump(mode="json"))
    return _facts(labels, evidence, pairs, [*refused, *passed_over])


def _seconds(run: RunFolder) -> dict[str, float]:
    """How long generation took, in all and by round; of other runs' replies that is not known."""
    facts = run.facts("generate")
    if "replay" in facts or "taken_from" in facts:
        return {}
    return {"all": run.manifest.stages["generate"].seconds, **facts.get("round_seconds", {})}


def _keyed(rows: Sequence[RowT], key: Callable[[RowT], str]) -> dict[str, RowT]:
    return {key(row): row for row in rows}


def read_evidence(run: RunFolder) -> Evidence:
    """What a run's files say of its candidates.

    A verdict that is lost can't be given anew: a flip's fluency is the generator's to say.

    Raises:
        RunError: a file is damaged.

    """
    originals = list(jsonl.read_rows(run.file("originals.jsonl"), Original))
    candidates = list(jsonl.read_rows(run.file("candidates.jsonl"), Candidate))
    verdicts = list(jsonl.read_rows(run.file("verdicts.jsonl"), Verdict))
    left = run.facts("generate")
    for name, count, expected in (
        ("originals.jsonl", len(originals), left.get("originals")),
        ("candidates.jsonl", len(candidates), left.get("candidates")),
        ("verdicts.jsonl", len(verdicts), sum(row.text is not None for row in candidates)),
    ):
        artifacts.refuse_lost_rows(run, "generate", run.file(name), count, expected)
    return Evidence(
        examples=artifacts.read_examples(run, "train"),
        originals=_keyed(originals, lambda row: row.example_id),
        candidates=_keyed(candidates, lambda row: row.id),
        verdicts=_keyed(verdicts, lambda row: row.candidate_id),
        earlier=_earlier(run),
        held_out=_held_out(run, candidates),
    )


def _earlier(run: RunFolder) -> dict[str, str]:
    pairs = list(jsonl.read_rows(run.file(*artifacts.EARLIER_PAIRS), CounterfactualPair))
    texts = {normalised(pair.text): pair.example_id for pair in pairs}
    return {**texts, **{normalised(pair.counterfactual): pair.candidate_id for pair in pairs}}


def _held_out(run: RunFolder, candidates: Sequence[Candidate]) -> frozenset[str]:
    written = {normalised(row.text) for row in candidates if row.text is not None}
    test = (normalised(row.text) for row in artifacts.stream_examples(run, "test"))
    return frozenset(written.intersection(test))


def read_unusable(run: RunFolder) -> Callable[[str], bool]:
    """Tells of a text whether the test split or an earlier pair has it, whatever its verdict.

    Only hashes of 64 bits are held: the test split may be large.
    """
    test = (normalised(row.text) for row in artifacts.stream_examples(run, "test"))
    known = frozenset(map(hash, chain(test, _earlier(run))))
    return lambda text: hash(normalised(text)) in known


def _facts(
    labels: Sequence[str],
    evidence: Evidence,
    pairs: Sequence[CounterfactualPair],
    rejections: Sequence[Rejection],
) -> dict[str, Any]:
    edits = [pair.edit_distance for pair in pairs]
    ways = Counter((pair.label, pair.counterfactual_label) for pair in pairs)
    return {
        "originals": len(evidence.originals),
        "candidates": len(evidence.candidates),
        "flips": sum(verdict.flipped for verdict in evidence.verdicts.values()),
        "pairs": len(pairs),
        "wanting": sum(pair.wanting for pair in pairs),
        "directions": {
            f"{labels[source]} -> {labels[target]}": count
            for (source, target), count in sorted(ways.items())
        },
        "median_edit_distance": round(statistics.median(edits), 4) if edits else None,
        "reasons": dict(Counter(row.reason for row in rejections).most_common()),
    }
