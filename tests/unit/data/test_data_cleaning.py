import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codlocal.core.errors import DataError
from codlocal.data.cleaning import Origin, assemble, fingerprint, hold_out, number_labels
from codlocal.data.tables import make_split

ORIGIN = Origin(name="mine", source="file", location="mine.csv")


def split_of(*rows):
    return make_split([text for text, _ in rows], [label for _, label in rows], "mine.csv")


def texts_of(examples):
    return [example.text for example in examples]


def test_every_dropped_row_is_counted_by_its_reason():
    train = split_of(
        ("good", "p"),
        ("good", "p"),
        ("bad", "n"),
        ("so-so", "p"),
        ("so-so", "n"),
        ("tested", "p"),
        ("  ", "p"),
        ("\u200b \ufeff", "p"),
        (None, "p"),
        ("no label", None),
    )
    test = split_of(("tested", "p"), ("tested", "p"), ("", "n"), ("other", "n"))
    loaded = assemble(ORIGIN, train, test)
    assert texts_of(loaded.train) == ["good", "bad"]
    assert texts_of(loaded.test) == ["tested", "tested", "other"]
    assert loaded.dropped == {
        "without text": 4,
        "without label": 1,
        "also in test": 1,
        "with conflicting labels": 2,
        "repeated": 1,
    }
    spec = loaded.spec
    assert spec.train_rows + spec.test_rows + spec.dropped_rows == 10 + 4
    assert (spec.name, spec.source, spec.location, spec.task) == (
        "mine",
        "file",
        "mine.csv",
        "generic",
    )


def test_ids_are_the_split_and_the_row_number():
    loaded = assemble(ORIGIN, split_of(("", "a"), ("x", "a"), ("y", "b")), split_of(("z", "a")))
    assert [example.id for example in loaded.train] == ["train-1", "train-2"]
    assert [example.id for example in loaded.test] == ["test-0"]


rows = st.lists(
    st.tuples(st.sampled_from("abcdefgh "), st.sampled_from(["n", "p", None])), max_size=30
)


@settings(deadline=None)
@given(rows, rows)
def test_rows_in_are_rows_out_and_no_text_is_in_both_splits(train, test):
    try:
        loaded = assemble(ORIGIN, split_of(*train), split_of(*test))
    except DataError:
        return
    assert len(loaded.train) + len(loaded.test) + sum(loaded.dropped.values()) == len(train + test)
    assert not set(texts_of(loaded.train)) & set(texts_of(loaded.test))
    assert len(set(texts_of(loaded.train))) == len(loaded.train)


@pytest.mark.parametrize(
    ("found", "wanted", "given_names", "names"),
    [
        ({"b", "a"}, None, None, ("a", "b")),
        ({"10", "9", "-1"}, None, None, ("-1", "9", "10")),
        ({"01", "1"}, None, None, ("01", "1")),
        ({"2", "1" * 5000}, None, None, ("1" * 5000, "2")),
        ({"true", "false"}, None, None, ("false", "true")),
        ({"a", "b"}, ("b", "a"), None, ("b", "a")),
        ({"a", "b"}, None, ("b", "a", "c"), ("b", "a", "c")),
        ({"0", "1"}, ("bad", "good"), None, ("bad", "good")),
        ({"10", "b"}, None, None, ("10", "b")),
    ],
)
def test_label_names_are_the_users_or_the_sources_or_sorted(found, wanted, given_names, names):
    ordered, index = number_labels(found, wanted, given_names, "mine.csv")
    assert ordered == names
    assert found <= index.keys()


@pytest.mark.parametrize("found", [{"0", "1", "2"}, {"0", "2"}])  # not every class need occur
@pytest.mark.parametrize("whose", ["the user's", "the source's"])
def test_indices_into_names_are_understood(found, whose):
    names = ("bad", "so-so", "good")
    given = (names, None) if whose == "the user's" else (None, names)
    index = number_labels(found, *given, "x")[1]
    assert {label: index[label] for label in found} == {label: int(label) for label in found}


def test_the_users_names_go_to_whatever_numbers_there_are_the_lowest_first():
    index = number_labels({"10", "5", "-1"}, ("bad", "so-so", "good"), None, "x")[1]
    assert index == {"-1": 0, "5": 1, "10": 2}


@pytest.mark.parametrize("found", [{"0.0", "1.0"}, {"-1", "+1"}, {"9.0", "10"}])
def test_whole_numbers_may_be_written_as_others_write_them(found):
    lower, higher = sorted(found, key=float)
    assert number_labels(found, ("bad", "good"), None, "x")[1] == {lower: 0, higher: 1}
    assert number_labels(found, None, None, "x")[0] == (lower, higher)


@pytest.mark.parametrize(
    ("found", "wanted", "message", "hint"),
    [
        (set(), None, "no labels at all", "two classes"),
        ({"a"}, None, "only the label 'a'", "two classes"),
        ({str(number) for number in range(1001)}, None, "1001 different labels", "--label-column"),
        ({"posit", "neg"}, ("neg", "positive"), "label names: 'posit'", "mean 'positive'"),
        ({"zzz", "neg"}, ("neg", "positive"), "'zzz'", "leave it out"),
        ({"1", "5"}, ("neg", "so", "pos"), "'1', '5'", "one name for each"),
        ({"5", "5.0"}, ("neg", "pos"), "'5', '5.0'", "one name for each"),
        ({"0.5", "1.0"}, ("neg", "pos"), "'0.5', '1.0'", "one name for each"),
        ({"good", "bad"}, ("neg", "pos"), "'bad', 'good'", "into the data"),
        ({"a", "b"}, ("a", "a"), "not two or more different names", "label_names"),
        ({"a", "b"}, ("a",), "not two or more different names", "label_names"),
    ],
)
def test_labels_that_make_no_classes_are_refused(found, wanted, message, hint):
    with pytest.raises(DataError, match=message) as caught:
        number_labels(found, wanted, None, "mine.csv")
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ([("a", "n"), ("a", "n")], [("a", "n"), ("b", "p")], "the train split has no usable rows"),
        ([("a", "n"), ("b", "p")], [("c", None)], "the test split has no usable rows"),
        ([("a", "n"), ("b", "n")], [("c", "p")], "all usable training texts have the label 'n'"),
    ],
)
def test_unusable_splits_are_refused(train, test, message):
    with pytest.raises(DataError, match=message):
        assemble(ORIGIN, split_of(*train), split_of(*test))


def test_thirty_percent_of_each_class_is_held_out_always_the_same():
    rows = [(f"text {number}", "np"[number % 4 == 0]) for number in range(80)]
    loaded = assemble(ORIGIN, split_of(*rows), None)
    assert (loaded.spec.train_rows, loaded.spec.test_rows) == (56, 24)
    assert sum(example.label for example in loaded.test) == 6
    assert {example.id.split("-")[0] for example in loaded.test} == {"test"}
    again = assemble(ORIGIN, split_of(*reversed(rows)), None)
    assert set(texts_of(again.test)) == set(texts_of(loaded.test))


def test_repeats_never_straddle_the_held_out_split():
    rows = [(f"text {number % 10}", "np"[number % 2]) for number in range(40)]
    loaded = assemble(ORIGIN, split_of(*rows), None)
    assert loaded.spec.train_rows + loaded.spec.test_rows == 10
    assert loaded.dropped == {"repeated": 30}


def test_a_class_of_one_text_is_trained_on_and_one_of_two_is_tested():
    loaded = assemble(ORIGIN, split_of(("a", "x"), ("b", "y"), ("c", "y")), None)
    train, test = hold_out(loaded.train + loaded.test)
    assert "a" in texts_of(train)
    assert len(test) == 1


def test_the_fingerprint_depends_on_content_alone():
    loaded = assemble(ORIGIN, split_of(("a", "x"), ("b", "y")), split_of(("c", "x")))
    names = loaded.spec.label_names
    assert loaded.spec.sha256 == fingerprint(names, loaded.train, loaded.test)
    assert loaded.spec.sha256 != fingerprint(names, loaded.test, loaded.train)
    assert loaded.spec.sha256 != fingerprint(("x", "z"), loaded.train, loaded.test)
    moved = [example.model_copy(update={"id": "elsewhere"}) for example in loaded.train]
    assert loaded.spec.sha256 == fingerprint(names, moved, loaded.test)


def test_texts_that_differ_by_case_and_spaces_are_the_same():
    train = split_of(("Good  food. ", "p"), ("bad food.", "n"), ("Fine", "p"), ("fine", "p"),
                     ("So-so", "p"), ("so-so ", "n"), ("dull", "n"))  # fmt: skip
    loaded = assemble(ORIGIN, train, split_of(("Good food.", "p"), ("Bad food.", "n")))
    assert texts_of(loaded.train) == ["Fine", "dull"]
    assert loaded.dropped == {"also in test": 2, "repeated": 1, "with conflicting labels": 2}
    rows = [("Fine" + " " * at, "p") for at in range(9)] + [(one, "n") for one in "abc"]
    once = assemble(ORIGIN, split_of(*rows), None)
    assert len(once.train) + len(once.test) == 4
