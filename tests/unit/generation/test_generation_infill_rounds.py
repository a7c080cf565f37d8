from fakes import FakeEngine
from search_rig import TEXTS, Rig

from codlocal.core.records import Fluency
from codlocal.generation.known import Known, Spent


def test_an_infill_round_asks_for_words_and_takes_those_that_flip():
    rig = Rig().run(["infill"])
    assert not rig.engine.requests
    assert len(rig.engine.blanks) >= len(TEXTS)
    assert len(rig.candidates) == sum(rig.announced) == 6 * len(TEXTS)
    texts = [row.id for row in rig.candidates if row.text is not None]
    assert texts
    assert {verdict.candidate_id for verdict in rig.verdicts if verdict.flipped} == set(texts)


def test_an_infill_round_that_died_goes_on_to_the_same_rows():
    whole = Rig(good=lambda *_: False).run(["infill", "infill"])
    half = {row.id: row for row in whole.candidates if row.round == 0 and row.example_id != "0"}
    again = Rig(known=Known(half), good=lambda *_: False).run(["infill", "infill"])
    assert again.rows() == whole.rows()
    assert again.known.verdicts == whole.known.verdicts


class Costly(FakeEngine):
    """Generates a token for every score, as a server does."""

    async def score(self, text):
        return (await super().score(text)).model_copy(update={"generated": 1})


def test_every_score_of_an_infill_round_is_counted_once():
    rig = Rig(Costly(), good=lambda *_: False).run(["infill"])
    assert len(set(rig.engine.scored)) > len(rig.verdicts)  # some were only compared
    spent = Spent.on(rig.candidates, rig.known.verdicts).tokens
    assert spent == len(rig.engine.blanks) + len(set(rig.engine.scored))


def test_the_flips_among_replies_cost_their_scores():
    rig, free = (Rig(engine).run(["guided"]) for engine in (Costly(), FakeEngine()))
    assert rig.candidates == free.candidates
    spent, less = (Spent.on(one.candidates, one.known.verdicts) for one in (rig, free))
    assert spent.tokens - less.tokens == len(rig.engine.scored) > 0
    assert (spent.written, spent.characters) == (less.written, less.characters)


def test_a_later_infill_round_takes_the_likeliest_of_more_texts():
    class Fluent(FakeEngine):
        async def score(self, text):
            await super().score(text)
            return Fluency(mean=-float("terrible" not in text), worst=-1.0, tokens=10)

    rig = Rig(Fluent(), good=lambda *_: False).run(["infill", "infill"])
    later = [row for row in rig.candidates if row.round == 1 and row.text is not None]
    first = [row for row in later if row.id.endswith("/0")]
    assert any("terrible" in row.text for row in first)
    assert not {row.text for row in later} & {row.text for row in rig.candidates if row.round == 0}
    compared = len(rig.engine.scored) - len(rig.verdicts)
    assert compared > len(later)
