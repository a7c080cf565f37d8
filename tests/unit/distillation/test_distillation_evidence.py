import math

import pytest
import torch

from codlocal.distillation import evidence
from codlocal.distillation.evidence import trust_in_evidence
from codlocal.distillation.warm_start import fit_head

_WIDTH = 100


def texts(groups, *, signal, seed=0, by=3.0, labels=(0, 1)):
    """Pairs of texts, with `labels` in turn: features of noise and `signal` times the label."""
    torch.manual_seed(seed)
    labels = torch.tensor([*labels] * (2 * groups // len(labels)))
    features = torch.randn(2 * groups, _WIDTH, dtype=torch.float64)
    features[:, 0] += signal * (2 * labels - 1)
    logits = torch.nn.functional.one_hot(labels, 2).float() * by
    return features, logits, [(2 * at, 2 * at + 1) for at in range(groups)]


def test_features_that_tell_left_out_texts_apart_are_trusted():
    assert trust_in_evidence(*texts(16, signal=4.0)) > 0.9


@pytest.mark.parametrize("seed", range(3))
def test_features_of_noise_are_not(seed):
    assert trust_in_evidence(*texts(32, signal=0.0, seed=seed)) < 0.2


def log_shares(logits):
    counts = torch.bincount(logits.argmax(dim=1), minlength=2) + 1.0  # each class has a text more
    return (counts / counts.sum()).log()


def evidence_of_left_out(features, logits, groups):
    """What heads that are fitted without a pair say of it, with the size of what the teacher says.

    Both is what is said beyond the shares of the classes.
    """
    found = torch.zeros(len(logits), 2, dtype=torch.float64)
    for out in groups:
        kept = [at for at in range(len(logits)) if at not in out]
        weight, bias = fit_head(features[kept], logits[kept].double().softmax(dim=-1))
        found[list(out)] = features[list(out)] @ weight.T + bias
    beyond = [one - log_shares(logits) for one in (logits.double(), found)]
    sizes = [(one - one.mean(dim=1, keepdim=True)).abs().mean() for one in beyond]
    return beyond[1] * (sizes[0] / sizes[1])


@pytest.mark.parametrize(
    ("signal", "labels"), [(0.5, (0, 1)), (1.0, (0, 1)), (1.0, (0, 0, 0, 1)), (1.5, (1, 1, 1, 0))]
)
def test_the_scale_is_the_likeliest_one_under_a_log_normal_prior(signal, labels):
    given = texts(8, signal=signal, labels=labels)
    beyond, goal = evidence_of_left_out(*given), given[1].double().softmax(dim=-1)
    shares = log_shares(given[1])
    scales = [step / 1000 for step in range(20, 1001)]
    badness = [
        -(goal * (beyond * scale + shares).log_softmax(dim=-1)).sum() + math.log(scale) ** 2 / 2
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


def test_half_of_the_texts_have_to_count():
    """A text without another one of its label does not."""
    torch.manual_seed(0)
    labels, features = torch.tensor([0, 0, 1, 1, 2, 3, 4, 5, 6]), torch.randn(9, _WIDTH)
    logits = torch.nn.functional.one_hot(labels).float() * 3
    groups = [(at,) for at in range(9)]
    assert trust_in_evidence(features[:8], logits[:8], groups[:8]) < 0.95
    assert trust_in_evidence(features, logits, groups) == 1.0


def test_a_text_that_does_not_count_is_no_evidence_against_the_others():
    features, logits, groups = texts(16, signal=4.0)
    logits = torch.nn.functional.pad(logits, (0, 8))
    more = torch.cat([logits, torch.eye(10)[2:] * 3])  # of eight labels a text each
    noise = torch.cat([features, 4 * torch.randn(8, _WIDTH, dtype=torch.float64)])
    found = trust_in_evidence(noise, more, [*groups, *((32 + at,) for at in range(8))])
    assert found == pytest.approx(trust_in_evidence(features, logits, groups), abs=0.05)


def test_what_softmax_does_not_see_says_nothing():
    features, logits, groups = texts(8, signal=1.0)
    lifted = logits + 100 * torch.randn(16, 1, generator=torch.Generator().manual_seed(0))
    expected = trust_in_evidence(features, logits, groups)
    assert trust_in_evidence(features, lifted, groups) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("groups", [3, 16, 20, 40])
def test_every_text_is_left_out_once_of_a_few_fits(groups, monkeypatch):
    left_out = []

    def fit(features, targets):
        left_out.extend({*range(2 * groups)} - {*features[:, 1].long().tolist()})
        return fit_head(features, targets)

    monkeypatch.setattr(evidence, "fit_head", fit)
    features, logits, pairs = texts(groups, signal=1.0)
    features[:, 1] = torch.arange(2 * groups)
    trust_in_evidence(features, logits, pairs)
    assert sorted(left_out) == [*range(2 * groups)]
