import pytest
from fakes import FakeTeacher

from codlocal.generation.lexicon import Lexicon

TEXTS = ["the food was good Good good", "so bad and so rude", "I SHOUT awful 7 a-b", "Alone I went"]
WEIGHTS = {"good": 3.0, "food": 1.0, "bad": -1.0, "rude": -2.0, "awful": -3.0}


def lexicon(teacher=None, texts=TEXTS):
    return Lexicon(teacher or FakeTeacher(WEIGHTS), texts, 2)


def test_words_are_read_as_the_texts_write_them_most_frequent_first():
    vocabulary = lexicon().vocabulary
    assert vocabulary[0] == "good"
    assert set(vocabulary[1:3]) == {"I", "so"}
    assert {"shout", "alone", "went"} <= set(vocabulary)  # a shout and a beginning are no names
    assert not {"7", "a-b", "SHOUT", "Alone"} & set(vocabulary)


def test_words_of_other_scripts_are_words_too():
    assert set(lexicon(texts=["खाना अच्छा था", "nai\u0308ve"]).vocabulary) == {
        "खाना", "अच्छा", "था", "nai\u0308ve",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("texts", "apart"), [(["i do n't", "I didn't", "so wo n't i"], True), (["don't"], False)]
)
def test_contractions_are_apart_where_they_are_so_more_often(texts, apart):
    assert lexicon(texts=texts).apart == apart


def test_a_contraction_that_is_apart_is_no_word_to_be_offered():
    assert lexicon(texts=["i do n't"]).vocabulary == ("i",)


def test_probe_words_speak_most_strongly_for_their_class():
    found = lexicon()
    assert found.probes(0, 2) == ["awful", "rude"]
    assert found.probes(1, 2) == ["good", "food"]
    assert lexicon(texts=["7 !"]).probes(0) == []
    assert lexicon(texts=["7 !"]).speaking(0, 1) == ()


def test_the_teacher_is_asked_once_and_not_before_it_matters():
    teacher = FakeTeacher(WEIGHTS)
    found = lexicon(teacher)
    assert not teacher.calls
    for _ in range(2):
        found.probes(0)
        found.speaking(0, 1)
    assert len(teacher.calls) == 2


class Saturated(FakeTeacher):
    """As sure of every word that is not negative as it can be."""

    def log_odds(self, text):
        odds = super().log_odds(text)
        return 9.0 if odds >= 0 and " " not in text else odds


def test_words_that_speak_outweigh_a_word_of_the_other_class():
    texts = ["table good", "chair great", "table awful", "table chair"]
    found = lexicon(Saturated(), [*texts, *(f"neutral{letter}" for letter in "abcdef")])
    speaking = found.speaking(1, 0)
    assert set(found.vocabulary) >= set(speaking)
    odds = {word: Saturated().log_odds(f"awful {word}") for word in speaking}
    assert odds["good"] > odds["table"]


@pytest.mark.parametrize("texts", [TEXTS, TEXTS[::-1]])
def test_the_order_of_the_words_is_by_frequency(texts):
    found = lexicon(texts=texts)
    ranks = [found.vocabulary.index(word) for word in found.speaking(1, 0)]
    assert ranks == sorted(ranks)
