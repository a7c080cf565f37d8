"""Words, and what a text says twice in a row."""

import pytest

from codlocal.verification.tokens import repetitions, words


def test_words_have_no_case_and_numbers_are_none():
    assert words("Don’t under-rate the 2nd No. 7, Ünal!") == [
        "don't", "under", "rate", "the", "no", "ünal",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "repeated"),
    [
        ("Product product.", {"product"}),
        ("It will it will charge", {"it will"}),
        ("the tones because the tones because they are bad", {"the tones because"}),
        ("very bad food, very bad place", set()),
        ("great, great!!!", set()),
        ("bad bad bad bad", {"bad", "bad bad"}),
        ("one two three four five one two three four five", set()),
        ("", set()),
        ("慢慢吃慢慢吃", {"慢 慢 吃"}),
    ],
)
def test_what_a_text_says_twice_in_a_row(text, repeated):
    assert set(repetitions(text)) == repeated
