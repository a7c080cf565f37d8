import pytest
import torch
from tiny import tiny_model

from codlocal.models.classifier import Classifier
from codlocal.models.seen_tokens import only_seen_tokens

LABELS = ("negative", "positive")
TEXTS = ("the food was good", "bad service and awful food")
KINDS = ("bert", "roberta", "deberta", "modernbert", "llama", "gemma3")


@pytest.fixture(params=KINDS)
def classifier(request, tmp_path):
    return Classifier.load(tiny_model(tmp_path, request.param, labels=LABELS), device="cpu")


def weight_of(classifier):
    return classifier.model.get_input_embeddings().weight


def trained(classifier, steps=3, decay=0.0):
    """The embedding after a few steps of AdamW on the logits of TEXTS."""
    rows = classifier.encoder.encode(TEXTS)
    optimizer = torch.optim.AdamW(classifier.model.parameters(), lr=1e-2, weight_decay=decay)
    for _ in range(steps):
        inputs = classifier.encoder.collate(rows, classifier.device)
        classifier.model(**inputs).logits[:, 0].sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return weight_of(classifier).detach().clone()


def ids_of(classifier):
    rows = classifier.encoder.encode(TEXTS)
    return sorted({classifier.encoder.pad_id}.union(*rows))


def test_logits_are_what_they_were(classifier):
    before, tokens = classifier.logits(TEXTS), len(weight_of(classifier))
    with only_seen_tokens(classifier, TEXTS):
        assert len(weight_of(classifier)) == len(ids_of(classifier)) < tokens
        within = classifier.logits(TEXTS)
    assert (within == before).all()
    assert (classifier.logits(TEXTS) == before).all()


def test_training_ends_in_the_same_weights(classifier):
    start = {name: one.clone() for name, one in classifier.model.state_dict().items()}
    plain = trained(classifier)
    classifier.model.load_state_dict(start)
    with only_seen_tokens(classifier, TEXTS):
        trained(classifier)
    assert torch.allclose(weight_of(classifier), plain, atol=1e-6)
    assert not torch.equal(plain, start[_name(classifier)])


def test_rows_of_other_tokens_stay_as_they_were_even_under_weight_decay(classifier):
    before = weight_of(classifier).detach().clone()
    with only_seen_tokens(classifier, TEXTS):
        trained(classifier, decay=0.5)
    after, seen = weight_of(classifier), ids_of(classifier)
    others = [row for row in range(len(before)) if row not in seen]
    assert others
    assert torch.equal(after[others], before[others])
    assert not torch.equal(after[seen], before[seen])


def _name(classifier):
    weight = weight_of(classifier)
    return next(name for name, one in classifier.model.named_parameters() if one is weight)


def test_a_token_that_no_text_has_is_an_error_and_everything_is_put_back(classifier):
    whole, padding = weight_of(classifier), classifier.model.get_input_embeddings().padding_idx
    with pytest.raises(IndexError), only_seen_tokens(classifier, TEXTS):
        classifier.logits(["xyz 123"])
    assert weight_of(classifier) is whole
    assert classifier.model.get_input_embeddings().padding_idx == padding
    assert classifier.logits(["xyz 123"]).shape == (1, 2)


def test_an_embedding_that_does_not_train_is_left_alone(classifier):
    whole = weight_of(classifier).requires_grad_(False)
    with only_seen_tokens(classifier, TEXTS):
        assert weight_of(classifier) is whole


def test_a_weight_that_another_module_shares_is_left_alone(classifier):
    whole = weight_of(classifier)
    classifier.model.shared = torch.nn.Linear(*whole.shape[::-1], bias=False)
    classifier.model.shared.weight = whole
    with only_seen_tokens(classifier, TEXTS):
        assert weight_of(classifier) is whole


def test_the_embedding_may_have_a_padding_row_of_its_own(classifier):
    embedding = classifier.model.get_input_embeddings()
    embedding.padding_idx = len(embedding.weight) - 1
    before = classifier.logits(TEXTS)
    with only_seen_tokens(classifier, TEXTS):
        assert (classifier.logits(TEXTS) == before).all()
    assert embedding.padding_idx == len(embedding.weight) - 1
