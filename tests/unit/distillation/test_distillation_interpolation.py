import numpy as np
import pytest
import torch
from tiny import tiny_model

from codlocal.core.errors import ModelError
from codlocal.distillation.interpolation import TokenPair, mixed_logits, pairs_in
from codlocal.models.classifier import Classifier

KINDS = ["bert", "roberta", "deberta", "modernbert", "llama", "qwen2", "gemma3"]
LABELS = ("negative", "positive", "neutral")
TEXTS = [("good food", "the food was not so good"), ("the place is great", "the place is awful")]


@pytest.fixture(scope="module", params=KINDS)
def family(request, tmp_path_factory) -> Classifier:
    folder = tmp_path_factory.mktemp(request.param)
    return Classifier.load(tiny_model(folder, request.param, labels=LABELS), device="cpu")


@pytest.fixture(scope="module")
def bert(tmp_path_factory) -> Classifier:
    folder = tmp_path_factory.mktemp("bert")
    return Classifier.load(tiny_model(folder, labels=LABELS), device="cpu")


def _pairs(classifier: Classifier) -> list[TokenPair]:
    return [TokenPair(*classifier.encoder.encode(texts)) for texts in TEXTS]


def _mixed(classifier: Classifier, *shares: float) -> np.ndarray:
    pairs = _pairs(classifier)[: len(shares)]
    with torch.no_grad():
        found = mixed_logits(classifier.model, classifier, pairs, torch.tensor(shares))
    return found.numpy()


def test_the_ends_of_the_segment_are_the_texts(family: Classifier):
    expected = family.logits([TEXTS[0][1], TEXTS[1][1]])
    # The longer text of the first pair is its counterfactual: nothing of the shorter one is left.
    np.testing.assert_allclose(_mixed(family, 1.0, 1.0), expected, atol=1e-5)


def test_a_text_mixed_with_itself_is_that_text(family: Classifier):
    row = family.encoder.encode([TEXTS[0][1]])[0]
    with torch.no_grad():
        found = mixed_logits(family.model, family, [TokenPair(row, row)], torch.tensor([0.3]))
    np.testing.assert_allclose(found, family.logits([TEXTS[0][1]]), atol=1e-5)


def test_a_pair_in_a_batch_is_what_it_is_alone(family: Classifier):
    pairs = _pairs(family)
    shares = torch.tensor([0.4, 0.7])
    with torch.no_grad():
        together = mixed_logits(family.model, family, pairs, shares)
        alone = [
            mixed_logits(family.model, family, [pair], share[None])
            for pair, share in zip(pairs, shares, strict=True)
        ]
    np.testing.assert_allclose(together, torch.cat(alone), atol=1e-5)


def test_the_mixture_is_that_of_the_input_embeddings(bert: Classifier):
    first, second = _pairs(bert)[1].original, _pairs(bert)[1].counterfactual
    assert len(first) == len(second)
    table = bert.model.get_input_embeddings().weight
    mixture = 0.75 * table[first] + 0.25 * table[second]
    with torch.no_grad():
        expected = bert.model(inputs_embeds=mixture[None]).logits
        pair = [TokenPair(first, second)]
        found = mixed_logits(bert.model, bert, pair, torch.tensor([0.25]))
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("first", "second", "aligned"),
    [
        ([1, 5, 2], [1, 6, 2], [(1, 1), (5, 6), (2, 2)]),
        ([1, 5, 7, 2], [1, 6, 8, 7, 2], [(1, 1), (5, 6), (None, 8), (7, 7), (2, 2)]),
        ([1, 4, 5, 2], [1, 5, 2], [(1, 1), (4, None), (5, 5), (2, 2)]),
        ([1], [2, 3], [(1, 2), (None, 3)]),
        ([], [], []),
    ],
)
def test_the_tokens_of_a_pair_are_aligned(first, second, aligned):
    assert TokenPair(first, second).aligned() == aligned


def test_a_text_that_lacks_words_is_an_end_of_the_segment_all_the_same(family: Classifier):
    short, long = family.encoder.encode(["the food was good", "the food was not so good"])
    pair = [TokenPair(short, long)]
    assert [one for one, _ in pair[0].aligned() if one is not None] == short
    with torch.no_grad():
        found = mixed_logits(family.model, family, pair, torch.tensor([1.0]))
    np.testing.assert_allclose(found, family.logits(["the food was not so good"]), atol=1e-5)


def test_texts_that_align_to_more_than_the_model_reads_are_cut(family: Classifier):
    many = "the food was good and " * 200
    short, long = family.encoder.encode([many, f"the food was really bad and {many}"])
    assert len(short) == len(long) == family.encoder.max_length
    with torch.no_grad():
        found = mixed_logits(family.model, family, [TokenPair(short, long)], torch.tensor([0.5]))
    assert found.isfinite().all()


def test_between_the_ends_lies_something_else(family: Classifier):
    middle = _mixed(family, 0.5)
    assert np.abs(middle - _mixed(family, 0.0)).max() > 1e-6
    assert np.abs(middle - _mixed(family, 1.0)).max() > 1e-6


def test_the_gradient_reaches_the_embeddings_of_both_texts(bert: Classifier):
    bert.model.zero_grad()
    pair = _pairs(bert)[1]
    mixed_logits(bert.model, bert, [pair], torch.tensor([0.5]))[0, 0].backward()
    gradient = bert.model.get_input_embeddings().weight.grad.abs().sum(dim=1)
    assert all(gradient[index] > 0 for index in {*pair.original, *pair.counterfactual})


def test_the_embeddings_work_as_before_afterwards(bert: Classifier):
    before = bert.logits(["good food"])
    _mixed(bert, 0.5)
    with pytest.raises(RuntimeError, match="in the middle"):
        mixed_logits(_Breaking(), bert, _pairs(bert), torch.tensor([0.5, 0.5]))
    np.testing.assert_array_equal(bert.logits(["good food"]), before)


class _Breaking(torch.nn.Module):
    def forward(self, **_: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("in the middle")


def test_the_pairs_of_a_batch_are_found_in_their_groups():
    groups = [(0, 1), (2,), (3, 4, 5), (6, 7)]
    assert pairs_in([5, 4, 3, 2, 0, 1], groups) == [(0, 1), (3, 4), (3, 5)]
    assert pairs_in([2, 6], groups) == []


def test_embeddings_that_a_model_does_not_ask_are_not_mixed(tmp_path):
    bart = Classifier.load(tiny_model(tmp_path, "bart", labels=LABELS), device="cpu")
    with pytest.raises(ModelError, match="can't be mixed"):
        _mixed(bart, 0.5)
