from collections import Counter
from dataclasses import replace

import pytest
import torch
from verified import verdict_with

from codlocal.core.records import Candidate, CounterfactualPair, Example
from codlocal.distillation.arms import ARMS, Edit, Material, collect_edits
from codlocal.distillation.class_prior import prior_shift

K = 8
ORIGINALS = [Example(id=f"train-{n}", text=f"text {n}", label=n % 2) for n in range(K)]


def candidate(example, number, **changes):
    row = Candidate(
        id=f"{example.id}/0/0/{number}",
        example_id=example.id,
        round=0,
        strategy="guided",
        source_label=example.label,
        target_label=1 - example.label,
        text=f"{example.text} edited {number}",
    )
    return row.model_copy(update=changes)


def verdict(row, *, flipped):
    label = row.target_label if flipped else row.source_label
    return verdict_with(
        candidate_id=row.id,
        example_id=row.example_id,
        probabilities=(0.6, 0.4) if label == 0 else (0.4, 0.6),
        label=label,
        flipped=flipped,
        edits=1,
        edit_distance=0.5,
    )


def pair(example):
    return CounterfactualPair(
        example_id=example.id,
        candidate_id=f"{example.id}/0/0/2",
        text=example.text,
        label=example.label,
        counterfactual=f"{example.text} edited 2",
        counterfactual_label=1 - example.label,
        edit_distance=0.5,
        target_probability=0.6,
    )


@pytest.fixture
def material():
    """Of every original three edits; the first one doesn't flip."""
    edits = {
        example.id: [
            Edit(row, verdict(row, flipped=number > 0))
            for number in range(3)
            for row in [candidate(example, number)]
        ]
        for example in ORIGINALS[: K // 2]
    }
    return Material(ORIGINALS, {one.id: [pair(one)] for one in ORIGINALS[:3]}, edits, seed=0)


def ids(training_set):
    return [text.id for text in training_set.texts]


@pytest.mark.parametrize("name", sorted(set(ARMS) - {"half"}))
def test_every_arm_has_k_texts_and_the_first_originals(material, name):
    found = ARMS[name].texts(material)
    assert len(found.texts) == K
    assert {one.id for one in ORIGINALS[: K // 2]} <= set(ids(found))
    assert sorted(place for group in found.groups for place in group) == list(range(K))


def test_half_has_the_originals_that_get_counterfactuals(material):
    assert ids(ARMS["half"].texts(material)) == [one.id for one in ORIGINALS[: K // 2]]


def test_the_student_gets_its_pairs_and_fills_up_with_originals(material):
    found = ARMS["student"].texts(material)
    assert (found.pairs, found.singles, found.fill) == (3, 1, 1)
    assert all(text.gold is None for text in found.texts if "edited" in text.text)


def test_unverified_edits_are_the_first_and_taken_for_flips(material):
    found = ARMS["unverified"].texts(material)
    edits = [text for text in found.texts if "edited" in text.text]
    assert [text.text for text in edits] == [f"text {n} edited 0" for n in range(4)]
    assert [text.assumed for text in edits] == [1 - one.label for one in ORIGINALS[:4]]
    assert all(text.gold is None for text in edits), "they are no originals"
    assert ARMS["unverified"].settings == {"hard_labels": "gold"}


def test_what_fills_up_beside_unverified_edits_heeds_what_they_are_taken_for():
    edits = {
        one.id: [Edit(row, verdict(row, flipped=False))]
        for one in ORIGINALS[:4]
        if one.label == 0
        for row in [candidate(one, 0)]
    }
    found = ARMS["unverified"].texts(Material(ORIGINALS, {}, edits, seed=0))
    labels = [text.assumed if text.gold is None else text.gold for text in found.texts]
    assert Counter(labels) == {0: 4, 1: 4}


@pytest.mark.parametrize("name", ["unverified", "paraphrase"])
def test_edits_of_words_that_the_teacher_picked_are_no_control(material, name):
    picked = {
        one: [replace(edit, candidate=edit.candidate.model_copy(update={"strategy": strategy}))
              for edit, strategy in zip(edits, ("infill", "lexical", "wide"), strict=True)]
        for one, edits in material.edits.items()
    }  # fmt: skip
    found = ARMS[name].texts(replace(material, edits=picked))
    edited = {text.text[-1] for text in found.texts if "edited" in text.text}
    assert edited <= {"2"}, "only the last edit was the generator's own"
    assert ARMS[name].unscreened


def test_a_paraphrase_keeps_the_label_and_any_flip_changes_it(material):
    kept, flipped = (ARMS[name].texts(material) for name in ("paraphrase", "any-flip"))
    assert [t.text[-1] for t in kept.texts if "edited" in t.text] == ["0"] * 4
    assert {t.text[-1] for t in flipped.texts if "edited" in t.text} <= {"1", "2"}
    assert flipped.pairs == 4
    again = ARMS["any-flip"].texts(material)
    assert again == flipped
    others = [ARMS["any-flip"].texts(replace(material, seed=seed)) for seed in range(1, 6)]
    assert any(other != flipped for other in others)


def test_an_edit_into_a_third_label_is_no_paraphrase_and_a_flip(material):
    def astray(edits):
        changes = {"label": 2, "flipped": True, "probabilities": (0.2, 0.2, 0.6)}
        odd = replace(edits[0], verdict=edits[0].verdict.model_copy(update=changes))
        kept = verdict(edits[1].candidate, flipped=False)
        return [odd, replace(edits[1], verdict=kept)]

    edits = {one: astray(them) for one, them in material.edits.items()}
    for name, taken in (("paraphrase", "1"), ("any-flip", "0")):
        found = ARMS[name].texts(replace(material, edits=edits))
        assert [t.text[-1] for t in found.texts if "edited" in t.text] == [taken] * 4


def test_the_first_edit_that_keeps_the_label_is_the_paraphrase(material):
    edits = {
        one: [flips, *(replace(edit, verdict=kept.verdict) for edit in (other, kept))]
        for one, (kept, flips, other) in material.edits.items()
    }
    found = ARMS["paraphrase"].texts(replace(material, edits=edits))
    assert [t.text[-1] for t in found.texts if "edited" in t.text] == ["2"] * 4


def test_texts_that_fill_up_even_out_the_labels_that_flips_have_got(material):
    third = {"label": 2, "probabilities": (0.2, 0.2, 0.6)}
    edits = {
        one: [replace(them[1], verdict=them[1].verdict.model_copy(update=third))]
        for one, them in material.edits.items()
        if one in ("train-0", "train-2")
    }
    found = ARMS["any-flip"].texts(replace(material, edits=edits))
    assert found.fill == 2
    assert ids(found)[-2:] == ["train-4", "train-5"]  # of either class one


def test_mixed_pairs_are_of_different_classes(material):
    found = ARMS["mixed"].texts(material)
    assert found.pairs == K // 2
    for first, second in found.groups:
        assert {found.texts[first].gold, found.texts[second].gold} == {0, 1}


def test_a_class_alone_leaves_mixed_texts_single(material):
    alone = [one.model_copy(update={"label": 1}) for one in ORIGINALS]
    found = ARMS["mixed"].texts(replace(material, originals=alone))
    assert (found.pairs, found.singles) == (0, K)


def test_all_originals_of_mixed_texts_count_as_drawn(material):
    originals = [*(one.model_copy(update={"label": 1}) for one in ORIGINALS[:-2]), *ORIGINALS[-2:]]
    found = ARMS["mixed"].texts(replace(material, originals=originals))
    assert (found.pairs, found.singles) == (1, K - 2)
    # Whatever the labels that the teacher gives are, they are those of all texts and of the draw.
    shift = prior_shift(found, torch.eye(2)[[1] * K] * 20)
    draw = torch.tensor([(1 + 1) / (K + 2), (7 + 1) / (K + 2)]).log()
    torch.testing.assert_close(shift, draw - draw.mean())


def test_the_arms_without_a_generator_need_no_counterfactual():
    empty = Material(ORIGINALS, {}, {}, seed=0)
    for arm in ARMS.values():
        if not arm.counterfactuals:
            assert "edited" not in " ".join(text.text for text in arm.texts(empty).texts)


def test_edits_are_in_the_order_of_asking_whenever_they_came():
    example = ORIGINALS[0]
    rows = [
        candidate(example, 10),
        candidate(example, 2),
        candidate(example, 0, round=1, id="train-0/1/0/0"),
        candidate(example, 3, text=None, failure="a copy"),
        candidate(example, 4),
    ]
    verdicts = [verdict(row, flipped=True) for row in rows if row.text and "/4" not in row.id]
    found = collect_edits(rows, verdicts)
    order = [edit.candidate.id for edit in found[example.id]]
    assert order == ["train-0/0/0/2", "train-0/0/0/10", "train-0/1/0/0"]
