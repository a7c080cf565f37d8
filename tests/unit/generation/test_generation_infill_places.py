"""How infill rounds combine words of several places, and what they have the teacher read for it."""

import pytest
from fakes import FakeTeacher
from infill_rig import IMPORTANCE, LONG, TEXT, plan, proposals

from codlocal.generation.infill import flipping_texts

MOST = len(LONG.split()) // 4
"""How many words of LONG may change."""


class Telling(FakeTeacher):
    """Decides by a rule; `read` has all texts that it was asked for."""

    def __init__(self, rule):
        super().__init__({})
        self._rule = rule

    def log_odds(self, text):
        return self._rule(text)

    @property
    def read(self):
        return [text for call in self.calls for text in call]


def found(teacher, *words, number=1, count=2):
    asked = plan(LONG, IMPORTANCE, count=count, number=number)
    first, *later = [*words, *[[]] * (len(asked.places) - len(words))]
    answers = [proposals(*first), *(proposals(*(f" {word}" for word in some)) for some in later)]
    return flipping_texts(teacher, asked, answers)


@pytest.mark.parametrize(("number", "flips"), [(0, False), (1, True)])
def test_a_later_round_takes_words_that_are_strong_beside_others(number, flips):
    def rule(text):
        return 5.0 - ("odd" in text) - ("weak" in text) - 9.0 * ("odd" in text and "late" in text)

    changed = found(Telling(rule), ["odd"], ["weak", "late"], number=number)
    assert bool(changed) == flips
    assert all("odd" in text and "late" in text for text in changed)


@pytest.mark.parametrize("needed", [MOST, MOST + 1])
def test_a_later_round_too_changes_no_more_than_a_share_of_the_words(needed):
    teacher = Telling(lambda text: needed - 0.5 - text.count("bad"))
    changed = found(teacher, *[["bad", "by", "as"]] * 6)
    assert set(changed.values()) == ({needed} if needed == MOST else set())
    assert max(text.count("bad") for text in teacher.read) == MOST


@pytest.mark.parametrize(("needed", "flips"), [(2, True), (3, False)])
def test_two_words_of_a_short_text_may_change(needed, flips):
    asked = plan(TEXT, [0, 0, 1.0, 3.0, 0, 0, 0, 2.0])
    teacher = Telling(lambda text: needed - 0.5 - text.count("bad"))
    changed = flipping_texts(teacher, asked, [proposals(" bad")] * 3)
    assert set(changed.values()) == ({needed} if flips else set())


def test_where_no_words_flip_together_their_combinations_are_not_read():
    teacher = Telling(lambda text: 9.0 - text.count("bad"))
    assert not found(teacher, *[["bad", "by", "as"]] * 6)
    alone, beside = 6 * 3, (MOST - 1) * 3
    assert len(teacher.read) == 1 + alone + beside


def test_a_place_that_brings_nothing_takes_no_other_ones_share():
    teacher = Telling(lambda text: 1.5 - text.count("bad"))
    changed = found(teacher, *[["by"]] * MOST, ["bad"], ["bad"])
    assert [(text.count("bad"), text.count("by")) for text in changed] == [(2, 0)]


def test_places_beyond_those_that_flip_are_not_combined():
    teacher = Telling(lambda text: 1.5 - text.count("bad"))
    assert found(teacher, *[["bad"]] * 3)
    assert max(text.count("bad") for text in teacher.read) == 2


def test_a_place_beside_one_that_flips_alone_need_not_help():
    changed = found(
        Telling(lambda text: 1.0 - 9.0 * ("bad" in text) + ("fair" in text)), ["bad"], ["fair"]
    )
    assert sorted(changed.values()) == [1, 2]


def test_where_words_fit_one_place_alone_they_have_the_whole_pool():
    words = [f"bad{letter}" for letter in "abcdefgh"]
    changed = found(Telling(lambda text: 1.0 - 9.0 * ("bad" in text)), words)
    assert [*changed.values()] == [1] * 8
