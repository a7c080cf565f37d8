import pytest

from codlocal.core.errors import ModelError
from codlocal.models.labels import column_order, names_of


def test_names_come_in_class_order_whatever_the_type_of_the_keys():
    assert names_of({1: "b", 0: "a"}) == ("a", "b")
    assert names_of({str(i): f"L{i}" for i in (10, 2, 0)}) == ("L0", "L2", "L10")
    assert names_of(None) == ()
    assert names_of({"0": 0, "1": 1}) == ("0", "1")


@pytest.mark.parametrize("odd", [{"negative": 0, "positive": 1}, ["negative", "positive"]])
def test_what_names_no_class_indices_is_refused(odd):
    with pytest.raises(ModelError, match="doesn't give names to class indices") as caught:
        names_of(odd)
    assert "config.json" in caught.value.hint


def test_named_labels_are_matched_whatever_their_case_and_order():
    assert column_order(("POSITIVE", "Negative"), ("negative", "positive")) == [1, 0]


def test_generic_names_have_the_order_of_the_data():
    assert column_order(("LABEL_0", "LABEL_1"), ("negative", "positive")) == [0, 1]


@pytest.mark.parametrize("spelled", [str, str.lower])
def test_generic_names_that_are_the_datas_too_are_matched(spelled):
    names = [f"LABEL_{index}" for index in range(12)]
    assert column_order(names, sorted(map(spelled, names))) == [0, 1, 10, 11, *range(2, 10)]


def test_names_that_differ_by_case_alone_are_told_apart_or_refused():
    assert column_order(("A", "a"), ("a", "A")) == [1, 0]
    with pytest.raises(ModelError, match="no label named a; its labels are A, b, c"):
        column_order(("A", "b", "c"), ("a", "A", "b"))


def test_another_number_of_labels_is_refused():
    with pytest.raises(ModelError, match="3 labels, the data 2"):
        column_order(("a", "b", "c"), ("a", "b"))


def test_a_label_that_the_model_lacks_is_named():
    with pytest.raises(ModelError, match="no label named positive") as caught:
        column_order(("NEGATIVE", "POS"), ("negative", "positive"))
    assert "where they are numbers with --set dataset.label_names" in caught.value.hint
