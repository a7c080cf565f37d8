"""What the training texts say of words: which there are, and which never end a phrase."""

import pytest

from codlocal.verification.vocabulary import Vocabulary

USED = Vocabulary.of(
    [
        *["We ate the best soup, but it was cold."] * 10,
        *["We ate the best dish, but it was cold."] * 10,
        *["We ate the soup, but it was very cold."] * 19,
        "The soup: was it?",
    ]
)


def test_all_words_are_known_in_any_case():
    assert Vocabulary.of(["A b", "b C"]).known == {"a", "b", "c"}


def test_a_contraction_is_known_by_its_ending():
    used = Vocabulary.of(["It isn't cold."])
    found = [used.unknown("", text) for text in ("cold it doesn't", "cold it is't", "it's isn't")]
    assert found == [(), ("is't",), ("it's",)]
    apart = Vocabulary.of(["it is n't cold ."])
    assert apart.unknown("", "it is n't cold but isn't") == ("but", "isn't")
    assert apart.unknown("", "it could n't be cold") == ("be",)
    assert apart.unknown("But I isn't", "but nay, I isn't") == ("nay",)


def test_common_words_that_something_always_follows_are_inner_ones():
    assert USED.inner == {"the", "was"}, "the others end phrases, or are too rare"


def test_a_word_may_end_a_phrase_now_and_then():
    often = Vocabulary.of(["the soup"] * 98 + ["the"] * 2)
    more = Vocabulary.of(["the soup"] * 97 + ["the"] * 3)
    assert (often.inner, more.inner) == ({"the"}, frozenset())


@pytest.mark.parametrize(
    ("original", "edited", "broken_off"),
    [
        ("It was good.", "It was the.", ("the",)),
        ("It was good.", "It was.", ("was",)),
        ("It was good", "It was THE", ("the",)),
        ("It was, and is.", "It was, and the soup.", ()),
        ("It was the.", "We ate the, it was the.", ("the",)),
        ("good soup", "the soup", ()),
        ("It was (good).", "It was (the).", ("the",)),
        ("It was good.", "It was (good).", ()),
        ("It was good.", 'It was "the" best.', ()),
        ("It was 5 pounds.", "It was £5.", ()),
        ("", "", ()),
    ],
)
def test_a_phrase_is_broken_off_where_an_edit_ends_it_with_an_inner_word(
    original, edited, broken_off
):
    assert USED.broken_off(original, edited) == broken_off


def test_without_common_words_nothing_is_broken_off():
    used = Vocabulary.of(["the soup"] * 20 + ["the dish"] * 19)
    assert used.broken_off("soup", "the") == ()


def test_scripts_without_spaces_have_inner_words_too():
    used = Vocabulary.of(["汤很好。"] * 40)
    assert used.broken_off("汤很好。", "汤很。") == ("很",)


@pytest.mark.parametrize(
    ("texts", "bound"),
    [
        (["we unable to eat", "they unable to"] * 8, {"unable": "to"}),
        (["we unable to eat"] * 14, {}),
        (["we unable to"] * 98 + ["unable or"] * 2, {"unable": "to"}),
        (["unable or"] * 2 + ["we unable to"] * 98, {"unable": "to"}),
        (["we unable to"] * 97 + ["unable or"] * 3, {}),
        (["and so on ..."] * 20, {"and": "so", "so": "on"}),
    ],
)
def test_words_that_one_word_nearly_always_follows_are_bound_to_it(texts, bound):
    found = Vocabulary.of(texts).bound
    assert {one: found[one] for one in ("unable", "to", "and", "so", "on") if one in found} == bound


def test_an_edit_that_parts_words_that_belong_together_is_broken_off():
    used = Vocabulary.of(["we unable to eat it", "it unable to wait"] * 10)
    found = [used.broken_off("I unable to do that", one) for one in (
        "I unable do that", "I unable to miss that", "I can do that", "I do unable",
    )]  # fmt: skip
    assert found == [("unable",), (), (), ("unable",)]
    assert used.broken_off("I unable do that", "I unable eat that") == ()
