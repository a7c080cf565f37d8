import pytest
from hypothesis import given
from hypothesis import strategies as st

from codlocal.core.texts import normalised
from codlocal.verification.duplicates import near_edit, near_text, similarity

LONG = "we came at seven and the soup was good and the staff kind and so we stayed until ten"


def test_case_and_space_make_no_text_new():
    assert normalised("  The SOUP\twas\n bad ") == "the soup was bad"


def test_the_nearest_text_counts():
    assert similarity("bad soup", ["good bread", "bad soap"]) == pytest.approx(14 / 16)
    assert similarity("bad soup", ["bad soup"]) == 1
    assert similarity("bad soup", []) == 0


def test_a_text_that_all_but_repeats_another_is_found():
    others = {"x": "the soup was good", "y": "the soup was bad and cold"}
    assert near_text("the soup was bad, and cold", others) == "y"
    assert near_text("the soup was bad and we left", others) is None
    assert near_text("the soup was good", {}) is None


@pytest.mark.parametrize(
    ("first", "second", "near"),
    [
        ("horrible", "horrible", True),
        ("horrible", "horribly", True),
        ("a letdown", "letdown", True),
        ("bad", "sad", False),
        ("bad", "", False),
        ("", "", True),
    ],
)
def test_edits_are_compared_by_what_they_put_in_however_long_the_text(first, second, near):
    one, other = (LONG.replace("good", word) for word in (first, second))
    assert near_edit(LONG, one, other) is near


def test_the_same_word_in_another_place_is_another_edit():
    one, other = LONG.replace("good", "bad"), LONG.replace("kind", "bad")
    assert not near_edit(LONG, one, other)


@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_nearness_has_no_direction_and_a_copy_is_near(original, one, other):
    assert near_edit(original, one, one)
    assert near_edit(original, one, other) == near_edit(original, other, one)
