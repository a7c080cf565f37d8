import pytest

from codlocal.core import artifacts, jsonl
from codlocal.core.config import Config, resolve
from codlocal.core.errors import RunError
from codlocal.core.records import CounterfactualPair, DatasetSpec, Example, FewShotSplit
from codlocal.core.run import RunFolder

SPEC = DatasetSpec(
    name="made",
    source="file",
    location="made.csv",
    label_names=("no", "yes"),
    train_rows=6,
    test_rows=1,
    sha256="0" * 64,
)
TRAIN = [Example(id=f"train-{n}", text=f"text {n}", label=n % 2) for n in range(6)]


@pytest.fixture
def run(tmp_path):
    run = RunFolder(tmp_path, Config())
    jsonl.write_json(run.file(*artifacts.SPEC), SPEC.model_dump(mode="json"))
    jsonl.write_rows(run.file(*artifacts.TRAIN), TRAIN)
    jsonl.write_rows(run.file(*artifacts.TEST), [Example(id="test-0", text="t", label=0)])
    splits = [
        FewShotSplit(seed=0, ids=("train-3", "train-0", "train-1", "train-2")),
        FewShotSplit(seed=1, ids=("train-0", "train-5", "train-3", "train-4")),
    ]
    jsonl.write_rows(run.file(*artifacts.FEW_SHOT), splits)
    return run


def test_what_was_written_is_read(run):
    assert artifacts.read_spec(run) == SPEC
    assert list(artifacts.read_examples(run, "train").values()) == TRAIN
    assert list(artifacts.read_examples(run, "test")) == ["test-0"]
    assert [split.seed for split in artifacts.read_few_shot(run)] == [0, 1]


@pytest.mark.parametrize(("most", "read"), [(6, range(6)), (5, (0, 2, 4)), (2, (0, 3))])
def test_of_very_many_texts_some_from_all_over_say_which_words_there_are(
    run, monkeypatch, most, read
):
    monkeypatch.setattr(artifacts, "_CORPUS", most)
    assert list(artifacts.corpus(run)) == [f"text {number}" for number in read]


def test_originals_are_the_first_halves_once_and_in_order(run):
    ids = [example.id for example in artifacts.originals(run)]
    assert ids == ["train-3", "train-0", "train-5"]


def test_with_the_full_budget_all_labelled_texts_are_originals(run):
    config = resolve([{"generator": {"budget": "max"}}])
    ids = [example.id for example in artifacts.originals(RunFolder(run.path, config))]
    assert ids == ["train-3", "train-0", "train-1", "train-2", "train-5", "train-4"]


@pytest.mark.parametrize(
    "read",
    [
        artifacts.read_spec,
        artifacts.read_few_shot,
        artifacts.originals,
        lambda run: artifacts.read_examples(run, "test"),
    ],
)
def test_a_missing_file_names_the_stage_to_run(tmp_path, read):
    with pytest.raises(RunError, match="is missing") as caught:
        read(RunFolder(tmp_path, Config()))
    assert caught.value.hint == f"Run `codlocal data --run {tmp_path}` first."


def test_damage_is_said(run):
    run.file(*artifacts.SPEC).write_text("{}")
    with pytest.raises(RunError, match="damaged") as caught:
        artifacts.read_spec(run)
    assert "--redo data" in caught.value.hint


@pytest.mark.parametrize(
    ("parts", "read", "told"),
    [
        (artifacts.TRAIN, lambda run: artifacts.read_examples(run, "train"), "5 of the 6 rows"),
        (artifacts.TEST, lambda run: artifacts.read_examples(run, "test"), "0 of the 1 rows"),
        (artifacts.FEW_SHOT, artifacts.read_few_shot, "1 of the 2 rows"),
    ],
)
def test_data_that_lost_rows_are_refused(run, parts, read, told):
    config = resolve([{"dataset": {"seeds": 2}}])
    run = RunFolder(run.path, config)
    with run.stage("data") as facts:
        facts.update(train_rows=6, test_rows=1)
    read(run)
    path = run.file(*parts)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(RunError, match=f"damaged: it has {told}") as caught:
        read(run)
    assert "--redo data" in caught.value.hint
    path.unlink()
    with pytest.raises(RunError, match="is missing") as caught:
        read(run)
    assert "--redo data" in caught.value.hint


@pytest.mark.parametrize("content", [None, b"", b'{"example_id": '])
def test_pairs_that_are_gone_are_no_run_without_pairs(run, content):
    with run.stage("verify") as facts:
        jsonl.write_rows(run.file("pairs.jsonl"), [pair("train-3", "train-3/1/0/3")])
        facts.update(pairs=1)
    assert list(artifacts.read_pairs(run)) == ["train-3"]
    run.file("pairs.jsonl").unlink()
    if content is not None:
        run.file("pairs.jsonl").write_bytes(content)
    with pytest.raises(RunError, match="0 of the 1 rows that the verify stage left") as caught:
        artifacts.read_pairs(run)
    assert "--redo verify" in caught.value.hint


def test_a_text_that_is_gone_is_named(run):
    jsonl.write_rows(run.file(*artifacts.TRAIN), TRAIN[:2])
    with pytest.raises(RunError, match="lacks the text train-3"):
        artifacts.originals(run)


def test_the_texts_of_a_later_round_follow_those_of_the_first(run):
    written = Example(id="train-3/0/0/1", text="text four", label=0)
    jsonl.write_rows(run.file(*artifacts.FOCUS), [written, TRAIN[2]])
    expected = [*TRAIN, written]
    assert list(artifacts.stream_examples(run, "train")) == expected
    assert list(artifacts.read_examples(run, "train").values()) == expected
    assert artifacts.originals(run) == [written, TRAIN[2]]


def pair(example_id, candidate_id):
    return CounterfactualPair(
        example_id=example_id, candidate_id=candidate_id, text="a", label=0, counterfactual="b",
        counterfactual_label=1, edit_distance=1.0, target_probability=0.9,
    )  # fmt: skip


def test_counterfactuals_of_all_rounds_go_back_to_the_labelled_text(tmp_path):
    run = RunFolder(tmp_path, Config())
    first = pair("train-7", "train-7/1/0/3")
    again = pair(artifacts.id_in_round("train-7", 2), "train-7~2/1/0/3")
    onwards = pair(artifacts.id_in_round("train-7/1/0/3", 2), "train-7/1/0/3~2/0/0/1")
    third = pair(artifacts.id_in_round("train-7/1/0/3~2/0/0/1", 3), "x")
    other = pair("train-8", "train-8/1/0/0")
    jsonl.write_rows(run.file(*artifacts.EARLIER_PAIRS), [first, other, again, onwards])
    jsonl.write_rows(run.file("pairs.jsonl"), [third])
    assert artifacts.read_pairs(run) == {
        "train-7": [first, again, onwards, third], "train-8": [other],
    }  # fmt: skip


def test_a_round_is_no_part_of_a_text_s_id():
    assert artifacts.flipped_text(artifacts.id_in_round("train-7", 12)) == "train-7"
    assert artifacts.flipped_text("train-7~2/1/0/3") == "train-7~2/1/0/3"


@pytest.mark.parametrize("lost", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("empty", [False, True])
def test_a_student_is_published_as_long_as_it_is_whole(tmp_path, lost, empty):
    run = RunFolder(tmp_path, Config())
    for name in ("config.json", "model.safetensors"):
        jsonl.write_text(tmp_path / "student" / name, "x")
    assert artifacts.published_student(run) == tmp_path / "student"
    path = tmp_path / "student" / lost
    path.unlink()
    if empty:
        path.touch()
    with pytest.raises(RunError, match="no whole model") as caught:
        artifacts.published_student(run)
    assert "--redo distill" in caught.value.hint
