from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from verified import verdict_with

from codlocal.core.records import Candidate, Example, Fluency, Original
from codlocal.core.sections import VerificationConfig
from codlocal.verification import choice
from codlocal.verification.choice import NOT_ASKED, RULES, Evidence, choose, sieve
from codlocal.verification.duplicates import alike, similarity

TEXT = "the soup was good and we liked it"


def original(name="a"):
    score = Fluency(mean=-2.0, worst=-5.0, tokens=5)
    return Original(example_id=name, probabilities=(0.1, 0.9), label=1, fluency=score)


def flip(name, text, *, edit=0.2, p=0.8, label=0, mean=None, flipped=True):
    """A candidate and its verdict; the example's id is the name's first part."""
    example = name.split("/")[0]
    candidate = Candidate(
        id=name, example_id=example, round=0, strategy="guided", source_label=1, target_label=0,
        text=text, failure=None if text else "cut off (length)",
    )  # fmt: skip
    probabilities = [(1 - p) / 2] * 3
    probabilities[label] = p
    verdict = verdict_with(
        candidate_id=name, example_id=example, probabilities=tuple(probabilities), label=label,
        flipped=flipped, edits=round(10 * edit), edit_distance=edit,
        fluency=None if mean is None else Fluency(mean=mean, worst=-5.0, tokens=5),
    )  # fmt: skip
    return candidate, verdict


def evidence(rows, names=("a",), texts=None):
    texts = texts or {}
    return Evidence(
        examples={name: Example(id=name, text=texts.get(name, TEXT), label=1) for name in names},
        originals={name: original(name) for name in names},
        candidates={row.id: row for row, _ in rows},
        verdicts={verdict.candidate_id: verdict for row, verdict in rows if row.text is not None},
    )


def decide(found, *, as_asked=False, **options):
    config = VerificationConfig(**options)
    good, refused = sieve(found, config)
    pairs, passed_over = choose(good, found, config, as_asked=as_asked)
    return pairs, [*refused, *passed_over]


def ids(pairs):
    return [pair.candidate_id for pair in pairs]


def reasons(rejections):
    return {row.candidate_id or row.example_id: row.reason for row in rejections}


def test_the_best_good_flip_is_taken_and_the_rest_kept_with_its_reason():
    rows = [
        flip("a/0", "the soup was bad and we liked it", edit=0.4),
        flip("a/1", "the soup was bland and we liked it"),
        flip("a/2", "the soup was fine and we liked it", flipped=False),
        flip("a/3", "no", edit=0.9),
        flip("a/4", "the soup was cold and we liked it"),
        flip("a/5", None),
    ]
    [pair], rejections = decide(evidence(rows))
    assert (pair.candidate_id, pair.counterfactual, pair.text) == ("a/1", rows[1][0].text, TEXT)
    assert (pair.label, pair.counterfactual_label) == (1, 0)
    assert (pair.edit_distance, pair.target_probability) == (0.2, 0.8)
    assert reasons(rejections) == {
        "a/0": "another candidate was chosen",
        "a/2": "not flipped",
        "a/3": "edited too much",
        "a/4": "another candidate was chosen",
        "a/5": "cut off (length)",
    }


def test_fluency_can_outweigh_a_smaller_edit():
    rows = [
        flip("a/0", "the soup was bad", edit=0.2, mean=-6),
        flip("a/1", "the soup was bland", edit=0.4, mean=-2),
    ]
    taken = [decide(evidence(rows), fluency_weight=weight)[0] for weight in (0, 0.1)]
    assert [ids(pairs) for pairs in taken] == [["a/0"], ["a/1"]]


def test_a_label_that_was_asked_for_comes_before_a_smaller_edit_into_another():
    rows = [
        flip("a/0", "the soup was vegan and we liked it", edit=0.1, label=2),
        flip("a/1", "the soup was bad and we liked it", edit=0.3),
        flip("a/2", "the soup was not good so we did not like it", edit=0.4),
    ]
    found = evidence(rows)
    assert ids(decide(found)[0]) == ["a/0"]
    assert ids(decide(found, as_asked=True)[0]) == ["a/1"]
    assert ids(decide(found, as_asked=True, per_example=2)[0]) == ["a/1", "a/2"]
    assert ids(decide(evidence(rows[:1]), as_asked=True)[0]) == ["a/0"]


def test_an_original_without_a_good_flip_is_a_rejection_of_its_own():
    rows = [flip("a/0", "the soup was fine", flipped=False)]
    pairs, rejections = decide(evidence(rows, names=("a", "b")))
    assert not pairs
    assert reasons(rejections) == {
        "a/0": "not flipped", "a": "no verified flip", "b": NOT_ASKED,
    }  # fmt: skip


FLIPS = [
    flip("a/0", "the soup was bad and we liked it", edit=0.1, p=0.99, mean=-4),
    flip("a/1", "the soup was dreadful and we liked it", edit=0.2, p=0.6, mean=-3),
    flip("a/2", "the soup was not to our taste, sadly", edit=0.5, p=0.9, mean=-2),
]


@pytest.mark.parametrize(
    ("rule", "order"),
    [
        ("minimal", ["a/0", "a/1", "a/2"]),
        ("boundary", ["a/1", "a/2", "a/0"]),
        ("fluent", ["a/2", "a/1", "a/0"]),
        ("diverse", ["a/0", "a/2", "a/1"]),  # nothing is chosen yet, so the least edit is first
    ],
)
def test_every_rule_has_its_order_of_preference(rule, order):
    found = evidence(FLIPS)
    assert ids(decide(found, select=rule, per_example=3)[0]) == order
    assert ids(decide(found, select=rule)[0]) == order[:1]
    assert ids(decide(found, select=rule, per_example=9)[0]) == order


@pytest.mark.parametrize("want", [{"strain": 999.0}, {"opinion": -999.0}])
@pytest.mark.parametrize("rule", RULES)
def test_a_wanting_flip_is_taken_for_want_of_others_but_a_doubt_is_none_at_the_boundary(rule, want):
    worse = [(row, verdict.model_copy(update=want)) for row, verdict in FLIPS]
    for at in range(3):
        found = evidence([*FLIPS[:at], worse[at], *FLIPS[at + 1 :]], names=("a", "b"))
        options = {"select": rule, "per_example": 3, "fluency_slack": 50}
        heeded = rule != "boundary" or "strain" in want
        plain = ids(decide(evidence(FLIPS), **options)[0])
        last = f"a/{at}" if heeded else plain[-1]
        chosen = decide(found, **options)[0]
        assert ids(chosen)[2:] == [last]
        assert [pair.wanting for pair in chosen] == [False, False, heeded]
        alone = evidence([worse[at]], names=("a", "b"))
        assert ids(decide(alone, **options)[0]) == [f"a/{at}"]


def test_the_boundary_is_where_the_two_likeliest_classes_meet():
    # p = 0.5 with the rest in one class is a tie; with the rest in two it is a clear lead.
    lead = flip("a/0", "the soup was bad", p=0.5)
    tie, verdict = flip("a/1", "the soup was bland", edit=0.5)
    verdict = verdict.model_copy(update={"probabilities": (0.45, 0.44, 0.11)})
    pairs, _ = decide(evidence([lead, (tie, verdict)]), select="boundary")
    assert ids(pairs) == ["a/1"]


def test_a_spread_keeps_away_from_what_others_were_given():
    rows = [
        flip("a/0", "the soup was bad and we left"),
        flip("b/0", "the soup was bad and they laughed", edit=0.1),
        flip("b/1", "nobody came to our table", edit=0.5),
    ]
    texts = {"b": "the soup was good and we stayed"}
    found = evidence(rows, ("a", "b"), texts)
    assert ids(decide(found, select="diverse")[0]) == ["a/0", "b/1"]
    assert ids(decide(found)[0]) == ["a/0", "b/0"]


def test_every_label_gets_its_best_flip_before_one_gets_a_second():
    rows = [
        flip("a/0", "the soup was bad", edit=0.1),
        flip("a/1", "the soup was cold", edit=0.2),
        flip("a/2", "the soup was strange", edit=0.5, label=2),
    ]
    pairs, _ = decide(evidence(rows), per_example=2)
    assert [pair.counterfactual_label for pair in pairs] == [0, 2]
    assert ids(decide(evidence(rows), per_example=3)[0]) == ["a/0", "a/2", "a/1"]


def test_pairs_follow_the_originals():
    rows = [flip("a/0", "the soup was bad"), flip("b/0", "our waiter was rude to all of us")]
    assert ids(decide(evidence(rows, ("b", "a")))[0]) == ["b/0", "a/0"]


def test_of_one_original_nothing_is_taken_twice():
    rows = [
        flip("a/0", "the soup was horrible and we liked it"),
        flip("a/1", "The soup was horrible  and we liked it", edit=0.3),
        flip("a/2", "the soup was horribly and we liked it", edit=0.4),
        flip("a/3", "the soup was sour and we liked it", edit=0.5),
        flip("a/4", "the soup was bland and we liked it", edit=0.6),
    ]
    pairs, rejections = decide(evidence(rows), per_example=2)
    assert ids(pairs) == ["a/0", "a/3"]
    same = [alike(TEXT, rows[0][0].text, row.text) for row, _ in rows]
    assert same == [True, True, True, False, False]  # what ends a search is what is taken here
    assert reasons(rejections) == {
        "a/1": "a duplicate of a chosen text",
        "a/2": "a duplicate of a chosen text",
        "a/4": "another candidate was chosen",
    }
    assert {row.detail for row in rejections} == {"a/0", ""}


def test_two_originals_are_not_given_one_text():
    rows = [
        flip("a/0", "the soup was bad and we left"),
        flip("b/0", "The soup was bad, and we left", edit=0.1),
        flip("b/1", "nobody came to our table", edit=0.5),
        flip("c/0", "Nobody came to our table!"),
    ]
    pairs, rejections = decide(evidence(rows, "abc"))
    assert ids(pairs) == ["a/0", "b/1"]
    assert reasons(rejections) == {
        "b/0": "a duplicate of a chosen text",
        "c/0": "a duplicate of a chosen text",
        "c": "only duplicates of chosen texts",
    }
    assert [row.detail for row in rejections] == ["a/0", "b/1", ""]


def test_like_texts_of_two_labels_are_both_taken():
    rows = [
        flip("a/0", "I would recommend the soup to anyone"),
        flip("b/0", "I would not recommend the soup to anyone", label=2),
    ]
    assert ids(decide(evidence(rows, "ab"))[0]) == ["a/0", "b/0"]


def test_a_text_of_an_earlier_pair_is_not_taken_once_more():
    rows = [
        flip("a/0", "The soup was  BAD and we liked it"),
        flip("a/1", "the soup was cold and we liked it", edit=0.4),
    ]
    earlier = {"the soup was bad and we liked it": "b/7"}
    pairs, rejections = decide(replace(evidence(rows), earlier=earlier))
    assert ids(pairs) == ["a/1"]
    assert reasons(rejections) == {"a/0": "a duplicate of a chosen text"}
    assert [row.detail for row in rejections] == ["b/7"]


def test_a_pair_tells_how_likely_the_label_is_that_it_got():
    row = flip("a/0", "the soup was vegan and we liked it", p=0.7, label=2)
    [pair], _ = decide(evidence([row]))
    assert (pair.counterfactual_label, pair.target_probability) == (2, 0.7)


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"), st.booleans(), st.floats(0, 1), st.text("ab ", max_size=4)
        ),
        max_size=20,
    ),
    st.sampled_from(["minimal", "boundary", "fluent", "diverse"]),
    st.integers(1, 3),
    st.randoms(),
)
@settings(deadline=None)
def test_every_candidate_has_one_fate_whatever_the_order(drawn, rule, count, chooser):
    rows = [
        flip(f"{name}/{at}", text or None, flipped=flipped, edit=edit)
        for at, (name, flipped, edit, text) in enumerate(drawn)
    ]
    pairs, rejections = decide(evidence(rows, "abc"), select=rule, per_example=count)
    refused = [row.candidate_id for row in rejections if row.candidate_id]
    assert sorted([*refused, *ids(pairs)]) == sorted(row.id for row, _ in rows)
    without = {row.example_id for row in rejections if row.candidate_id is None}
    assert without ^ {pair.example_id for pair in pairs} == set("abc")
    assert all(ids(pairs).count(one) == 1 for one in ids(pairs))
    chooser.shuffle(rows)
    again = decide(evidence(rows, "abc"), select=rule, per_example=count)
    assert again == (pairs, rejections)


def test_flips_beyond_those_that_are_taken_are_compared_with_nothing(monkeypatch):
    asked = []
    monkeypatch.setattr(choice, "near_text", lambda text, _others: asked.append(text))
    rows = [
        flip(f"{name}/{at}", f"{name} said the soup was {word}")
        for name in "abc"
        for at, word in enumerate(("bad", "sour", "cold"))
    ]
    pairs, rejections = decide(evidence(rows, "abc"))
    assert (len(pairs), len(rejections), len(asked)) == (3, 6, 3)


def test_a_spread_compares_no_two_texts_twice(monkeypatch):
    asked = []

    def counted(text, others):
        asked.extend((text, other) for other in others)
        return similarity(text, others)

    monkeypatch.setattr(choice, "similarity", counted)
    rows = [
        flip(f"{name}/{at}", " ".join([word * 3, name * 9, "soup", word * 3]))
        for name in "abcd"
        for at, word in enumerate(("bad", "sour", "cold", "old"))
    ]
    pairs, _ = decide(evidence(rows, "abcd"), select="diverse", per_example=3)
    assert (len(pairs), len(set(asked))) == (12, len(asked))
