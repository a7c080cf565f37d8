import numpy as np
import pytest
from fakes import FakeTeacher

from codlocal.core.errors import ConfigError
from codlocal.core.keyed_rows import KeyedRows
from codlocal.core.records import Example
from codlocal.generation.lexicon import Lexicon
from codlocal.generation.tasks import Attributed, EditFinder, FoundEdits, build_tasks

CORPUS = ["awful bad good food", "the great place"]
EXAMPLES = [
    Example(id="1", text="good food good", label=1),
    Example(id="2", text="so bad", label=0),
]
READINGS = [(EXAMPLES[0], 1, 0), (EXAMPLES[1], 0, 1)]


def build(teacher, path, readings=READINGS, method="occlusion"):
    with KeyedRows(path, Attributed, lambda row: row.key) as kept:
        return list(build_tasks(teacher, Lexicon(teacher, CORPUS, 2), readings, method, kept))


def test_a_word_counts_for_what_is_lost_without_it_and_what_is_gained_in_its_place(tmp_path):
    teacher = FakeTeacher({"good": 2.0, "awful": -2.0, "bad": -2.0, "food": -2.0, "great": 2.0})
    [task, _] = build(teacher, tmp_path / "kept.jsonl")
    # Each of the three probe words says -2 in the place of a word that says +2, +2 or -2.
    np.testing.assert_allclose(task.importance, [2 + 4, -2 + 0, 2 + 4], atol=1e-6)
    assert task.key == ("1", 0)


def test_the_teacher_is_not_asked_again_for_what_was_kept(tmp_path):
    path = tmp_path / "kept.jsonl"
    first = build(FakeTeacher(), path)
    again = FakeTeacher()
    second = build(again, path)
    assert not again.calls
    for one, other in zip(first, second, strict=True):
        assert one.key == other.key
        np.testing.assert_array_equal(one.importance, other.importance)


def test_what_an_interruption_leaves_is_kept_and_the_rest_comes_out_the_same(tmp_path):
    class Interrupted(FakeTeacher):
        def predict_proba(self, texts):
            if EXAMPLES[1].text in texts:
                raise KeyboardInterrupt
            return super().predict_proba(texts)

    path, whole = tmp_path / "kept.jsonl", tmp_path / "whole.jsonl"
    with pytest.raises(KeyboardInterrupt):
        build(Interrupted(), path)
    assert len(path.read_text().splitlines()) == 1
    again = FakeTeacher()
    build(again, path)
    assert EXAMPLES[0].text not in {text for call in again.calls for text in call}
    build(FakeTeacher(), whole)
    assert path.read_bytes() == whole.read_bytes()


def test_texts_are_asked_about_one_by_one(tmp_path):
    """All of a shard at once would not fit into memory: a review has hundreds of words."""
    teacher, path = FakeTeacher(), tmp_path / "kept.jsonl"
    with KeyedRows(path, Attributed, lambda row: row.key) as kept:
        tasks = build_tasks(teacher, Lexicon(teacher, CORPUS, 2), READINGS, "occlusion", kept)
        assert next(tasks).example == EXAMPLES[0]
        asked = {text for call in teacher.calls for text in call}
        assert EXAMPLES[0].text in asked
        assert EXAMPLES[1].text not in asked


def test_words_are_left_out_once_whatever_the_number_of_targets(tmp_path):
    readings = [(one, label, target) for one, label, _ in READINGS for target in (0, 1)]
    teacher, single = FakeTeacher(), FakeTeacher()
    together = build(teacher, tmp_path / "kept.jsonl", readings)
    apart = [build(single, tmp_path / f"{at}", [one])[0] for at, one in enumerate(readings)]
    np.testing.assert_array_equal(
        np.concatenate([task.importance for task in together]),
        np.concatenate([task.importance for task in apart]),
    )
    # A call has the text itself, and each word left out or three probe words in place of it.
    for text, words in (("good food good", 3), ("so bad", 2)):
        calls = [len(call) for call in teacher.calls if call[0] == text]
        assert calls == [1 + words, 1 + 3 * words, 1 + 3 * words]


def test_what_is_kept_is_keyed_by_what_was_asked(tmp_path):
    path = tmp_path / "kept.jsonl"
    build(FakeTeacher(), path, READINGS[:1])
    changed = Example(id="1", text="good good food", label=1)
    for readings in ([(changed, 1, 0)], [(EXAMPLES[0], 0, 1)], READINGS[1:]):
        teacher = FakeTeacher()
        build(teacher, path, readings)
        assert teacher.calls
    assert len(path.read_text().splitlines()) == 4


def test_a_teacher_without_gradients_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no gradients") as caught:
        build(FakeTeacher(), tmp_path / "kept.jsonl", method="gradient")
    assert "occlusion" in caught.value.hint


class WithGradients(FakeTeacher):
    def gradient_times_input(self, texts, labels, others):
        assert (labels, others) == ([1, 0], [0, 1])
        return [[(0, 2, 1.0), (2, 4, 0.5), (5, 9, -1.0)], [(3, 6, 2.0)]]


def test_gradients_take_the_place_of_occlusion(tmp_path):
    teacher = WithGradients()
    first, second = build(teacher, tmp_path / "kept.jsonl", method="gradient")
    np.testing.assert_array_equal(first.importance, [1.5, -1.0, 0.0])
    np.testing.assert_array_equal(second.importance, [0.0, 2.0])
    assert not teacher.calls


def test_edits_are_searched_once_and_read_back_as_they_were(tmp_path):
    path, teacher = tmp_path / "edits.jsonl", FakeTeacher()
    tasks = build(teacher, tmp_path / "kept.jsonl")
    lexicon = Lexicon(teacher, CORPUS, 2)
    with KeyedRows(path, FoundEdits, lambda row: row.key) as kept:
        finder = EditFinder(teacher, lexicon, "occlusion", kept)
        found = [finder(task) for task in tasks]
        assert all(found)
        calls = len(teacher.calls)
        assert [finder(task) for task in tasks] == found
    with KeyedRows(path, FoundEdits, lambda row: row.key) as kept:
        later = EditFinder(teacher, lexicon, "occlusion", kept)
        assert [later(task) for task in tasks] == found
    assert len(teacher.calls) == calls


def test_edits_of_another_attribution_are_searched_anew(tmp_path):
    path, teacher = tmp_path / "edits.jsonl", FakeTeacher()
    task, _ = build(teacher, tmp_path / "kept.jsonl")
    lexicon = Lexicon(teacher, CORPUS, 2)
    with KeyedRows(path, FoundEdits, lambda row: row.key) as kept:
        for method in ("occlusion", "gradient", "occlusion"):
            EditFinder(teacher, lexicon, method, kept)(task)
    assert len(path.read_text().splitlines()) == 2
