import numpy as np
import pytest
import torch
from tiny import tiny_model

from codlocal.core.errors import ModelError
from codlocal.generation.attribution import gradient
from codlocal.models.classifier import Classifier

NAMES = ("negative", "positive", "neutral")
TEXTS = ["The food was good.", "x", "unbelievable service and the place is awful"]


@pytest.fixture(scope="module", params=["bert", "deberta", "qwen2"])
def classifier(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    tiny_model(folder, request.param, labels=NAMES)
    return Classifier.load(folder, device="cpu", dtype="float32", max_length=64)


def test_every_word_piece_has_its_place_and_special_tokens_have_none(classifier):
    found = classifier.gradient_times_input(TEXTS, [0, 1, 2], [1, 0, 0])
    assert len(found) == 3
    for text, pieces in zip(TEXTS, found, strict=True):
        assert pieces
        assert all(0 <= start < end <= len(text) for start, end, _ in pieces)
        starts = [start for start, _, _ in pieces]
        assert starts == sorted(starts)
        covered = {at for start, end, _ in pieces for at in range(start, end)}
        assert {at for at, letter in enumerate(text) if letter.isalnum()} <= covered


def test_the_sum_is_the_slope_of_the_margin_halfway_to_padding(classifier):
    """d margin / d a at a = 1/2, where a moves all words from padding to their embeddings."""
    text, step = TEXTS[0], 1e-2
    row = classifier.encoder.collate(classifier.encoder.encode([text]), classifier.device)
    model, pad = classifier.model, classifier.encoder.pad_id
    special = torch.isin(
        row["input_ids"], torch.tensor(classifier.encoder.tokenizer.all_special_ids)
    )
    values = {}
    for share in (0.5 - step, 0.5 + step):

        def move(module, _given, output, share=share):
            moved = module.weight[pad] + share * (output - module.weight[pad])
            return torch.where(special[..., None], output, moved)

        hook = model.get_input_embeddings().register_forward_hook(move)
        with torch.no_grad():
            logits = model(**row).logits[0]
        hook.remove()
        values[share] = float(logits[2] - logits[0])
    slope = (values[0.5 + step] - values[0.5 - step]) / (2 * step)
    [pieces] = classifier.gradient_times_input([text], [2], [0])
    assert sum(value for _, _, value in pieces) == pytest.approx(slope, rel=0.02, abs=1e-3)


def test_batches_do_not_change_the_attributions(classifier):
    together = classifier.gradient_times_input(TEXTS, [0, 1, 2], [1, 0, 0])
    for at, text in enumerate(TEXTS):
        [alone] = classifier.gradient_times_input([text], [at], [0 if at else 1])
        np.testing.assert_allclose(
            [value for *_, value in alone], [value for *_, value in together[at]], atol=1e-5
        )


def test_word_pieces_are_summed_onto_words_and_no_gradient_is_left(classifier):
    found = gradient(classifier, TEXTS, [0, 1, 2], [1, 0, 0])
    assert [len(one) for one in found] == [4, 1, 7]
    pieces = classifier.gradient_times_input([TEXTS[2]], [2], [0])[0]
    long_word = sum(value for start, end, value in pieces if end <= len("unbelievable"))
    assert found[2][0] == pytest.approx(long_word, abs=1e-5)
    assert all(parameter.grad is None for parameter in classifier.model.parameters())
    assert gradient(classifier, [], [], []) == []


def test_a_tokenizer_that_knows_no_places_is_named(classifier, monkeypatch):
    class Slow:
        is_fast = False

    monkeypatch.setattr(classifier.encoder, "tokenizer", Slow())
    with pytest.raises(ModelError, match="word pieces"):
        classifier.gradient_times_input(["x"], [0], [1])


def test_a_model_that_does_not_ask_its_embeddings_has_no_gradients(tmp_path):
    bart = Classifier.load(tiny_model(tmp_path, "bart", labels=NAMES), device="cpu")
    assert bart.logits(TEXTS).shape == (3, 3)
    with pytest.raises(ModelError, match="out of reach") as caught:
        bart.gradient_times_input(TEXTS[:1], [0], [1])
    assert "--attribution occlusion" in caught.value.hint
