import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codlocal.generation.constraint import words
from codlocal.generation.flips import FlipPool, Solved, mark_changes

NAMES = ("negative", "positive")


def test_a_long_text_is_no_demonstration():
    long = Solved("good " * 60, "bad " * 60, 1, 0)
    assert FlipPool([long]).nearest("so good", 1, 0) == []
    assert FlipPool([long, Solved("so good!", "so bad!", 1, 0)]).nearest("so good", 1, 0) == [
        Solved("so bad!", "so good!", 0, 1),
        Solved("so good!", "so bad!", 1, 0),
    ]


def test_no_more_than_two_flips_of_a_direction_are_shown_and_none_of_other_labels():
    flips = [Solved(f"so good {at}", f"so bad {at}", 1, 0) for at in range(5)]
    others = [Solved("so odd", "so good", 2, 1), Solved("so odd", "so bad", 2, 0)]
    shown = FlipPool([*others, *flips]).nearest("so good 3", 1, 0)
    assert (
        sorted((one.source_label, one.target_label) for one in shown) == [(0, 1)] * 2 + [(1, 0)] * 2
    )


def test_a_flip_is_shown_with_its_labels_and_blanks():
    flip = Solved("the food was good.", "the food was not good.", 1, 0).named(NAMES)
    assert (flip.before, flip.after) == ("positive", "negative")
    assert (flip.marked, flip.blanked) == ("the food was [] good.", "the food was ___ good.")
    assert flip.edited == "the food was not good."


@pytest.mark.parametrize(
    ("text", "edited", "marked"),
    [
        ("so good!", "so bad!", "so [good]!"),
        ("a good day", "a day", "a [good] day"),
        ("very good food", "awful bad food", "[very good] food"),
        ("good [sic] food", "bad [sic] meal", "[good] [sic] [food]"),
        ("it was", "it was not", "it was[]"),
        ("the same", "the same", "the same"),
    ],
)
def test_changed_words_are_marked(text, edited, marked):
    assert mark_changes(text, edited, "[{}]") == marked


@given(st.text(max_size=40), st.text(max_size=40))
@settings(deadline=None)
def test_what_is_not_marked_is_the_text_itself(text, edited):
    marked = mark_changes(text, edited, "\x00{}\x00")
    assert sum(marked.count(text[s.start : s.end]) > 0 for s in words(text)) == len(words(text))
    assert marked.count("\x00") % 2 == 0 or "\x00" in text
