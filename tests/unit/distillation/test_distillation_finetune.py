from codlocal.core.records import Example
from codlocal.distillation.finetune import training_rows

EXAMPLES = [Example(id=f"train/{number}", text=f"text {number}", label=0) for number in range(50)]


def test_all_rows_are_taken_unless_there_are_more_than_wanted():
    assert training_rows(EXAMPLES, None, 0) == EXAMPLES
    assert training_rows(EXAMPLES, 50, 0) == EXAMPLES


def test_a_capped_draw_is_a_function_of_the_seed_and_keeps_the_order():
    drawn = training_rows(EXAMPLES, 20, 3)
    assert len(drawn) == 20
    assert [EXAMPLES.index(row) for row in drawn] == sorted(EXAMPLES.index(row) for row in drawn)
    assert drawn == training_rows(EXAMPLES, 20, 3)
    assert drawn != training_rows(EXAMPLES, 20, 4)
