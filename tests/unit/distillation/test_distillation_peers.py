import numpy as np
import pytest
import torch
from tiny import tiny_model

from codlocal.core.errors import ModelError
from codlocal.distillation import setfit_peer
from codlocal.distillation.peers import FrozenEncoder, fit_logistic
from codlocal.distillation.warm_start import head_features
from codlocal.models.initialise import new_classifier

TEXTS = ["the food was good", "the food was bad", "great", "the service is awful and bad"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = tiny_model(tmp_path_factory.mktemp("body"))
    return FrozenEncoder(new_classifier(folder, ("no", "maybe", "yes"), device="cpu"))


def test_features_are_token_means_and_batches_do_not_matter(encoder):
    together = encoder.features(TEXTS)
    classifier = encoder.classifier
    for text, row in zip(TEXTS, together, strict=True):
        inputs = classifier.encoder.collate(classifier.encoder.encode([text]), classifier.device)
        with torch.inference_mode():
            states = classifier.model(**inputs, output_hidden_states=True).hidden_states[-1][0]
        assert row == pytest.approx(states.mean(dim=0).numpy(), abs=1e-5)


@pytest.mark.parametrize("kind", ["llama", "gemma3"])
def test_features_of_a_decoder_are_those_of_its_last_token(tmp_path, kind):
    classifier = new_classifier(tiny_model(tmp_path, kind), ("no", "yes"), device="cpu")
    together = FrozenEncoder(classifier).features(TEXTS)
    np.testing.assert_allclose(together, head_features(classifier, TEXTS), atol=1e-5)


def test_known_texts_are_not_computed_again(encoder, monkeypatch):
    before = encoder.features(TEXTS)
    monkeypatch.setattr(encoder.classifier.encoder, "encode", lambda _: pytest.fail("again"))
    assert np.array_equal(encoder.features(TEXTS[::-1]), before[::-1])


def test_texts_share_the_same_batches_in_every_process(encoder, monkeypatch):
    asked = []
    encode = encoder.classifier.encoder.encode
    monkeypatch.setattr(
        encoder.classifier.encoder, "encode", lambda texts: asked.extend(texts) or encode(texts)
    )
    texts = [f"place {number}" for number in range(100, 170)]
    FrozenEncoder(encoder.classifier).features(["the longest of all", *texts[::-1], *texts])
    assert asked == [*texts, "the longest of all"]


def test_a_class_without_texts_gets_no_probability(encoder):
    peer = fit_logistic(encoder, TEXTS, [2, 0, 2, 0], 3)
    found = peer.predict_proba(TEXTS)
    assert found.shape == (4, 3)
    assert found.sum(axis=1) == pytest.approx(np.ones(4))
    assert found.argmax(axis=1).tolist() == [2, 0, 2, 0]
    assert not found[:, 1].any()


def test_texts_of_one_class_give_that_class(encoder):
    found = fit_logistic(encoder, TEXTS, [1] * 4, 3).predict_proba(["whatever"])
    assert found.tolist() == [[0, 1, 0]]


def test_a_missing_setfit_is_named_with_its_extra(monkeypatch):
    monkeypatch.setattr(setfit_peer.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ModelError, match="SetFit is not installed") as caught:
        setfit_peer.check_setfit()
    assert "codlocal[bench]" in caught.value.hint


@pytest.mark.filterwarnings("default")
def test_setfit_learns_toy_labels(encoder, tmp_path, capsys):
    texts = [f"the {thing} was {word}" for thing in ("food", "place") for word in ("good", "bad")]
    peer = setfit_peer.train_setfit(
        encoder.classifier, texts, [0, 2, 0, 2], tmp_path, steps=3, seed=0
    )
    found = peer.predict_proba(texts)
    assert found.shape == (4, 3)
    assert not found[:, 1].any()
    assert capsys.readouterr().out == ""


def test_setfit_of_texts_of_one_class_gives_that_class(encoder, tmp_path):
    peer = setfit_peer.train_setfit(
        encoder.classifier, TEXTS, [1] * 4, tmp_path / "body", steps=1, seed=0
    )
    assert peer.predict_proba(["whatever"]).tolist() == [[0, 1, 0]]
