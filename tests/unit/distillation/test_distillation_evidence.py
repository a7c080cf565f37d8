import math

import pytest
import torch

from codlocal.distillation.evidence import trust_in_evidence
from codlocal.distillation.warm_start import fit_head

_WIDTH = 100


def texts(groups, *, signal, seed=0, by=3.0):
    """Pairs of texts with opposite labels: features of noise and `signal` times the label."""
    torch.manual_seed(seed)
    labels = torch.tensor([0, 1] * groups)
    features = torch.randn(2 * groups, _WIDTH, dtype=torch.float64)
    features[:, 0] += signal * (2 * labels - 1)
    logits = torch.nn.functional.one_hot(labels, 2).float() * by
    return features, logits, [(2 * at, 2 * at + 1) for at in range(groups)]


def test_features_that_tell_left_out_texts_apart_are_trusted():
    assert trust_in_evidence(*texts(16, signal=4.0)) > 0.9


@pytest.mark.parametrize("seed", range(3))
def test_features_of_noise_are_not(seed):
    assert trust_in_evidence(*texts(32, signal=0.0, seed=seed)) < 0.2


def evidence_of_left_out(features, logits, groups):
    """What heads that are fitted without a pair say of it, with the size of what the teacher says.

    Both classes have as many texts: evidence is all of the logits.
    """
    found = torch.zeros(len(logits), 2, dtype=torch.float64)
    for out in groups:
        kept = [at for at in range(len(logits)) if at not in out]
        weight, bias = fit_head(features[kept], logits[kept].double().softmax(dim=-1))
        found[list(out)] = features[list(out)] @ weight.T + bias
    sizes = [(one - one.mean(dim=1, keepdim=True)).abs().mean() for one in (logits, found)]
    return found * (sizes[0] / sizes[1])


@pytest.mark.parametrize("signal", [0.5, 1.0])
def test_the_scale_is_the_likeliest_one_under_a_log_normal_prior(signal):
    given = texts(8, signal=signal)
    evidence, goal = evidence_of_left_out(*given), given[1].double().softmax(dim=-1)
    scales = [step / 1000 for step in range(20, 1001)]
    badness = [
        -(goal * (evidence * scale).log_softmax(dim=-1)).sum() + math.log(scale) ** 2 / 2
        for scale in scales
    ]
    best = scales[min(range(len(scales)), key=lambda at: badness[at])]
    assert 0.05 < best < 0.95
    assert trust_in_evidence(*given) == pytest.approx(best, abs=2e-3)


def test_evidence_is_never_taken_for_more_than_it_is():
    assert trust_in_evidence(*texts(16, signal=4.0, by=6.0)) == pytest.approx(1.0, abs=1e-3)


def test_a_few_texts_say_less_than_many():
    found = [trust_in_evidence(*texts(groups, signal=0.0)) for groups in (3, 8, 32)]
    assert found == sorted(found, reverse=True)


def test_a_pair_is_left_out_as_a_whole():
    features, logits, groups = texts(16, signal=0.0)
    # Each text has a twin of the same label: trusted only while the twin is in the fit.
    twice = torch.cat([features, features]), torch.cat([logits, logits])
    apart = [(one,) for at in range(32) for one in (at, at + 32)]
    together = [(*group, group[0] + 32, group[1] + 32) for group in groups]
    assert trust_in_evidence(*twice, together) < trust_in_evidence(*twice, apart) / 2


def test_the_size_of_the_features_hardly_matters():
    features, logits, groups = texts(16, signal=1.0)
    small, large = (trust_in_evidence(features * by, logits, groups) for by in (1.0, 10.0))
    assert small == pytest.approx(large, rel=0.5)


@pytest.mark.parametrize(
    ("labels", "groups"),
    [
        ([0, 1, 2, 3], [(0,), (1,), (2,), (3,)]),  # a left out text's label is never left in
        ([0, 1], [(0, 1)]),  # nothing is left in
    ],
)
def test_where_nothing_can_be_said_evidence_is_taken_as_it_is(labels, groups):
    logits = torch.nn.functional.one_hot(torch.tensor(labels), 4).float()
    assert trust_in_evidence(torch.randn(len(labels), 5), logits, groups) == 1.0


def test_features_that_are_all_alike_say_nothing():
    logits = torch.tensor([[2.0, 0.0], [0.0, 2.0]] * 4)
    found = trust_in_evidence(torch.zeros(8, 3), logits, [(0, 1), (2, 3), (4, 5), (6, 7)])
    assert found == 1.0
