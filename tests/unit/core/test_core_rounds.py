from codlocal.core import artifacts, jsonl
from codlocal.core.config import Config
from codlocal.core.records import CounterfactualPair
from codlocal.core.run import RunFolder


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
