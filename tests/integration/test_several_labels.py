"""The whole pipeline in process on a file with four labels, each of which is flipped into."""

import json
from collections import defaultdict

import pytest
from transformers import AutoModelForSequenceClassification

from codlocal.core import jsonl
from codlocal.core.records import CounterfactualPair

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated"),
]

STARS = {"awful": "1 star", "bad": "2 stars", "good": "4 stars", "great": "5 stars"}
NAMES = list(STARS.values())
SUBJECT = "the service"


@pytest.fixture
def place(toys, monkeypatch):
    """The texts of `mine.csv`, with a label for each of the four words that tell them apart.

    An edit of one is often another of them, so the test split has a subject of its own.
    """
    texts = [line.split(",")[0] for line in (toys / "mine.csv").read_text().splitlines()[1:]]
    rows = [f"{text},{STARS[text.split()[-2]]}" for text in texts]
    (toys / "stars").mkdir()
    for split, tested in (("train", False), ("test", True)):
        some = [row for row in rows if row.startswith(SUBJECT) == tested]
        (toys / f"stars/{split}.csv").write_text("\n".join(["text,label", *some]) + "\n")
    monkeypatch.setenv("CODLOCAL_HOME", str(toys / "home"))
    monkeypatch.chdir(toys)
    return toys


def test_flips_into_all_labels_make_a_student_of_all(place, call):
    code, out, err = call(
        "pipeline", "--data", "stars", "--prompt", "topic", "-k", "8", "--targets", "all",
        "--cfe-per-example", "3", "--budget", "max", "--teacher", "encoder", "--student", "encoder",
        "--generator", "generator", "--engine", "transformers", "--candidates", "1",
        "--set", "generator.rounds=['lexical']", "--set", "generator.prompting=completion",
        "--set", "verification.fluency_slack=1000", "--set", "verification.max_edit_distance=2.0",
        "--set", "teacher.epochs=30", "--set", "teacher.batch_size=8",
        "--set", "teacher.learning_rate=3e-3", "--set", "distillation.learning_rate=3e-3",
        "--steps", "80", "--no-baseline",
        "--set", "runtime.threads=1", "--set", "runtime.dtype=float32", "--device", "cpu",
        "--offline", "--run", "four", "--json",
    )  # fmt: skip
    assert code == 0, err
    summary = json.loads(out)
    assert summary["stages"]["generate"]["prompt"] == "topic.jinja"

    pairs = list(jsonl.read_rows(place / "four/pairs.jsonl", CounterfactualPair))
    reached = defaultdict(set)
    for pair in pairs:
        reached[pair.text].add(pair.counterfactual_label)
    assert {pair.label for pair in pairs} == set().union(*reached.values()) == {0, 1, 2, 3}
    assert max(map(len, reached.values())) == 3

    student = AutoModelForSequenceClassification.from_pretrained(place / "four/student")
    assert list(student.config.id2label.values()) == NAMES
    rows = (place / "four/predictions/student-seed0.jsonl").read_text().splitlines()
    said = [json.loads(row) for row in rows]
    assert {len(row["probabilities"]) for row in said} == {4}
    assert {row["label"] for row in said} == {0, 1, 2, 3}

    directions = json.loads((place / "four/generation.json").read_text())["directions"]
    every = {f"{one} -> {other}" for one in NAMES for other in NAMES if one != other}
    assert {one["name"] for one in directions} == every
    assert sum(summary["stages"]["verify"]["directions"].values()) == len(pairs)
    assert summary["metrics"]["dataset"]["label_names"] == NAMES
    assert summary["metrics"]["student"]["teacher_agreement"] > 0.9
