import pytest
import torch
import transformers
from tiny import tiny_model

from codlocal.core.errors import ModelError
from codlocal.distillation.hidden_states import compared_states, hidden_states, is_pre_norm
from codlocal.distillation.projections import ProjectedStudent, new_projections
from codlocal.models.classifier import Classifier

POST_NORM = ("bert", "roberta", "deberta")
PRE_NORM = ("modernbert", "eurobert", "llama", "qwen2", "gemma3")
TEXTS = ("good food", "the service was awful")


def _classifier(folder, kind: str) -> Classifier:
    return Classifier.load(tiny_model(folder, kind, labels=("n", "p"), layers=3), device="cpu")


def _inputs(classifier: Classifier) -> dict[str, torch.Tensor]:
    rows = classifier.encoder.encode(list(TEXTS))
    return dict(classifier.encoder.collate(rows, classifier.device))


@pytest.mark.parametrize("kind", [*POST_NORM, *PRE_NORM])
def test_states_of_pre_norm_models_alone_are_scaled(tmp_path, kind):
    classifier = _classifier(tmp_path, kind)
    assert is_pre_norm(classifier.model) == (kind in PRE_NORM)
    inputs = _inputs(classifier)
    with torch.no_grad():
        raw = classifier.model(**inputs, output_hidden_states=True).hidden_states
        found = hidden_states(classifier, inputs, (1, 3))
    for states, layer in zip(found, (1, 3), strict=True):
        if kind in POST_NORM:
            assert torch.equal(states, raw[layer])
            continue
        scale = raw[layer].square().mean(dim=-1, keepdim=True).sqrt()
        torch.testing.assert_close(states * scale, raw[layer], rtol=1e-3, atol=1e-4)
        assert states.square().mean(dim=-1).sqrt().sub(1).abs().max() < 1e-2


@pytest.mark.parametrize(
    ("family", "settings", "expected"),
    [
        ("OPT", {"ffn_dim": 64, "word_embed_proj_dim": 32}, True),
        ("OPT", {"ffn_dim": 64, "word_embed_proj_dim": 32, "do_layer_norm_before": False}, False),
        ("MegatronBert", {"intermediate_size": 64}, True),
        ("XLMRobertaXL", {"intermediate_size": 64}, True),
        ("Esm", {"intermediate_size": 64}, True),
    ],
)
def test_a_last_norm_within_the_encoder_or_decoder_is_found(family, settings, expected):
    config = getattr(transformers, f"{family}Config")(
        vocab_size=50,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        pad_token_id=1,
        **settings,
    )
    model = getattr(transformers, f"{family}ForSequenceClassification")(config)
    assert is_pre_norm(model) == expected


def test_how_large_the_states_are_changes_nothing(tmp_path):
    model = _classifier(tmp_path, "llama").model
    hidden = [torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(0))]
    large = [hidden[0] * torch.tensor([1.0, 10, 100, 1000, 10_000])[:, None]]
    torch.testing.assert_close(
        compared_states(model, large, [0]), compared_states(model, hidden, [0])
    )
    (half,) = compared_states(model, [large[0].bfloat16()], [0])
    assert half.dtype == torch.bfloat16


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_a_student_gives_the_states_that_its_teacher_is_asked_for(tmp_path, kind):
    classifier = _classifier(tmp_path, kind)
    classifier.model.eval()
    inputs = _inputs(classifier)
    layers = (1, 2, 3)
    student = ProjectedStudent(classifier.model, layers, new_projections(3, 32, 32, seed=0))
    with torch.no_grad():
        output = student(**inputs)
        torch.testing.assert_close(
            torch.stack(output.states), hidden_states(classifier, inputs, layers)
        )


def test_a_model_of_two_bodies_has_no_states_to_compare(tmp_path):
    classifier = _classifier(tmp_path, "bart")
    with pytest.raises(ModelError, match="A bart model does not give") as caught:
        hidden_states(classifier, _inputs(classifier), [1])
    assert "--method kd" in caught.value.hint
