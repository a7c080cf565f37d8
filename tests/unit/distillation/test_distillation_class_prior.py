import math
from dataclasses import replace

import pytest
import torch

from codlocal.distillation.class_prior import prior_shift
from codlocal.distillation.composition import TrainingSet, TrainingText


def paired(*gold, fill=0):
    """Texts in order; one without a gold label is the counterfactual of the original before it."""
    texts = tuple(TrainingText(str(at), "text", label) for at, label in enumerate(gold))
    groups: list[tuple[int, ...]] = []
    for at, label in enumerate(gold):
        groups.append((at,)) if label is not None else groups.append((*groups.pop(), at))
    return TrainingSet(texts, tuple(groups), fill=fill)


def sure_of(*labels, classes=2, by=20.0):
    logits = torch.zeros(len(labels), classes)
    for row, label in enumerate(labels):
        logits[row, label] = by
    return logits


def centred(values):
    mean = sum(values) / len(values)
    return [value - mean for value in values]


def test_originals_alone_shift_nothing():
    shift = prior_shift(paired(0, 1, 1, 0, fill=4), torch.randn(4, 2))
    assert shift.tolist() == [0.0, 0.0]


def test_without_a_pair_fill_is_as_drawn():
    filled = prior_shift(paired(0, 1, 1, 0, fill=2), torch.randn(4, 2))
    assert filled.tolist() == pytest.approx([0.0, 0.0], abs=1e-6)


def test_even_originals_and_their_flips_shift_nothing():
    shift = prior_shift(paired(0, None, 1, None), sure_of(0, 1, 1, 0))
    assert shift.abs().max() < 1e-6


def test_flips_of_one_class_alone_are_made_up_for():
    shift = prior_shift(paired(1, None, 0, None), sure_of(1, 0, 1, 0))
    # Two originals, both called 1, and two flips: with one more text of each class
    # 1 has (2 + 1) / 4 of the originals and (2 + 1) / 6 of all texts.
    expected = [math.log((3 / 6) / (1 / 4)), math.log((3 / 6) / (3 / 4))]
    assert shift.tolist() == pytest.approx(centred(expected), abs=1e-6)


def test_the_surer_a_call_against_gold_is_the_more_it_counts():
    texts = paired(1, None, 0, None)
    shifts = [prior_shift(texts, sure_of(1, 0, 1, 0, by=by)) for by in (1e-4, 1.0, 20.0)]
    by_a_hair, surer, certain = (float(one[0] - one[1]) for one in shifts)
    assert by_a_hair == pytest.approx(0, abs=1e-3)
    assert 0.2 < surer < certain - 0.2
    # The originals get tanh(1/2) more of 1 than of 0, and none if the second were called 0.
    more = math.tanh(0.5)
    assert surer == pytest.approx(math.log((2 + more) / (2 - more)), abs=1e-6)


def test_a_teacher_that_is_surer_of_one_class_says_no_more_of_it():
    logits = torch.tensor([[3.0, 0.0], [0.0, 1.0], [3.0, 0.0], [0.0, 1.0]])
    for trust in (1.0, 0.1):
        assert prior_shift(paired(0, 1, 0, 1), logits, trust).abs().max() < 1e-6


def test_fill_that_evens_out_the_classes_says_nothing_of_them():
    logits = sure_of(1, 0, 1, 0)
    filled = prior_shift(paired(1, None, 0, 0, fill=1), logits)
    # Of the two that were drawn both are called 1: 3/4 of the originals; the texts are even.
    expected = [math.log((3 / 6) / (1 / 4)), math.log((3 / 6) / (3 / 4))]
    assert filled.tolist() == pytest.approx(centred(expected), abs=1e-6)


def test_counterfactuals_with_an_assumed_label_are_no_originals():
    known = paired(1, None, 0, None)
    assumed = tuple(replace(one, assumed=0) if one.gold is None else one for one in known.texts)
    texts = replace(known, texts=assumed)
    logits = sure_of(1, 0, 1, 0)
    assert prior_shift(texts, logits).tolist() == pytest.approx(prior_shift(known, logits).tolist())


def test_the_less_evidence_is_trusted_the_more_the_originals_shares_count():
    texts, logits = paired(1, None, 0, None), sure_of(1, 0, 1, 0)
    whole, half = (prior_shift(texts, logits, trust=trust) for trust in (1.0, 0.5))
    shares = torch.tensor([1 / 4, 3 / 4]).log()
    assert (whole - half).tolist() == pytest.approx(centred(shares.tolist()), abs=1e-6)


def test_shares_never_outweigh_what_the_teacher_says_of_an_ordinary_text():
    texts, logits = paired(1, None, 0, None), sure_of(1, 0, 1, 0, by=2.0)
    whole, most = (prior_shift(texts, logits, trust=trust) for trust in (1.0, 0.02))
    # With one more text of each class the originals get (2 + tanh(1)) / (2 - tanh(1)) more of 1.
    once = math.log((2 + math.tanh(1)) / (2 - math.tanh(1)))
    assert float((most - whole)[0] - (most - whole)[1]) == pytest.approx(2.0 - once)


def test_an_ordinary_text_is_one_of_the_means_sureness():
    texts, sure = paired(1, None, 0, None), torch.tensor([[2.0], [0.5], [2.0], [5.5]])
    logits = sure_of(1, 0, 1, 0, by=1.0) * sure
    whole, most = (prior_shift(texts, logits, trust=trust) for trust in (1.0, 0.02))
    once = math.log((2 + math.tanh(1)) / (2 - math.tanh(1)))  # of the originals alone
    assert float((most - whole)[0] - (most - whole)[1]) == pytest.approx(2.5 - once)


def test_sureness_is_the_gap_to_the_next_class():
    logits = sure_of(1, 0, 1, 0, classes=3, by=2.0)
    logits[:, 2] = -50.0  # a class that is out of question
    texts = paired(1, None, 0, None)
    whole, most = (prior_shift(texts, logits, trust=trust) for trust in (1.0, 0.02))
    once = math.log((2 + math.tanh(1)) / (2 - math.tanh(1)))
    assert float((most - whole)[0] - (most - whole)[1]) == pytest.approx(2.0 - once)


def test_even_originals_are_the_same_for_any_trust():
    texts, logits = paired(0, None, 1, None), sure_of(0, 1, 1, 0)
    shift = prior_shift(texts, logits, trust=0.02)
    assert shift.tolist() == [0.0, 0.0]


def test_a_model_that_has_learned_the_texts_gives_back_the_originals_shares():
    shift = prior_shift(paired(1, None, 0, None), sure_of(1, 0, 1, 0))
    found = (torch.tensor([0.5, 0.5]).log() - shift).softmax(dim=-1)
    assert found.tolist() == pytest.approx([0.25, 0.75], abs=1e-6)


def test_many_classes_and_the_dtype_are_kept():
    shift = prior_shift(paired(0, 1, None), sure_of(0, 1, 2, classes=5).to(torch.float32))
    assert shift.shape == (5,)
    assert shift.dtype == torch.float32
    assert shift[0] == shift[2] > 0 > shift[3]


def test_a_draw_that_ends_amid_a_turn_says_nothing_of_the_classes():
    texts, logits = paired(0, None, 1, None, 0, None), sure_of(0, 1, 1, 0, 0, 1)
    assert prior_shift(texts, logits, trust=0.35).abs().max() < 1e-6
    # Of four classes the turns have come to three.
    filled = prior_shift(paired(0, 1, 2, 3, fill=1), sure_of(0, 1, 2, 3, classes=4), trust=0.35)
    assert filled.abs().max() < 1e-6


def test_what_the_teacher_says_beyond_an_unfinished_turn_counts():
    # Drawn were 0, 1, 0 and are called 0, 0, 0: with one more text of each class 0 has 4 to 1 there
    # where the draw has 3 to 2, which makes 8 to 3, and 4 to 4 of all texts.
    shift = prior_shift(paired(0, None, 1, None, 0, None), sure_of(0, 1, 0, 1, 0, 1))
    assert shift.tolist() == pytest.approx(centred([-math.log(8), -math.log(3)]), abs=1e-6)
