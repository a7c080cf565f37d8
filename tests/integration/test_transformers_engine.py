"""The in-process engine on tiny random models: the constraint has to do all the work."""

import asyncio
import dataclasses
import json
import math
import re
import shutil

import numpy as np
import pytest
import torch
from plans import planner_of
from tiny import tiny_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from codlocal.core.errors import EngineError, ModelError
from codlocal.core.records import Example
from codlocal.generation.constraint import Span, edit_constraint, parse_reply
from codlocal.generation.engines import canary
from codlocal.generation.engines.engine import Blank, Request, Sampling
from codlocal.generation.engines.transformers_engine import TransformersEngine
from codlocal.generation.replies import candidates_of
from codlocal.generation.task import Task

pytestmark = [
    pytest.mark.integration,
    # torch itself still uses what it deprecates, where llguidance makes it import its compiler.
    pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated"),
]

TEXT = 'He said "good" food, 😀 & more.'
EDIT = edit_constraint(TEXT, [Span(9, 13)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("generator"), "llama", causal=True)


def load(folder, *, raw_prompts=True, max_length=2048):
    return TransformersEngine.load(
        folder,
        device=torch.device("cpu"),
        dtype=torch.float32,
        raw_prompts=raw_prompts,
        max_length=max_length,
    )


@pytest.fixture(scope="module")
def engine(folder):
    return load(folder)


def request(constraint=EDIT.pattern, count=3, seed=1, **sampling):
    sampling = {"max_tokens": 100, "temperature": 1.0, "top_p": 1.0, **sampling}
    return Request("1", "Say so.", constraint, count, seed, Sampling(**sampling))


def generate(engine, wanted):
    return asyncio.run(engine.generate(wanted))


def test_a_random_model_obeys_the_edit_constraint(engine):
    replies = generate(engine, request(count=8))
    assert len({reply.text for reply in replies}) > 1
    for reply in replies:
        assert reply.finish_reason == "stop"
        assert EDIT.allows(reply.text)
        edited = EDIT.splice(parse_reply(reply.text))
        assert re.fullmatch(r'He said "[a-z\' ]+" food, 😀 & more\.', edited)
        assert reply.prompt_tokens == len("Say so.")
        assert reply.completion_tokens == len(reply.text.encode())


def test_a_models_own_sampling_is_not_used(engine, folder, tmp_path):
    other = shutil.copytree(folder, tmp_path / "other")
    own = {"repetition_penalty": 3.0, "min_p": 0.9, "suppress_tokens": [120]}
    other.joinpath("generation_config.json").write_text(json.dumps(own))
    assert generate(load(other), request()) == generate(engine, request())


def test_a_reply_that_fills_the_limit_is_cut(engine):
    [reply] = generate(engine, request(count=1, max_tokens=10))
    assert reply.finish_reason == "length"
    assert not EDIT.allows(reply.text)


def test_the_same_seed_draws_the_same_replies_whatever_was_drawn_before(engine):
    first = generate(engine, request())
    torch.rand(7)
    other = generate(engine, request(seed=2))
    assert generate(engine, request()) == first
    assert other != first


def test_generating_leaves_the_random_numbers_of_others_alone(engine):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    generate(engine, request())
    assert torch.equal(torch.rand(3), expected)


def test_without_temperature_all_replies_are_the_same(engine):
    replies = generate(engine, request(temperature=0.0))
    assert len({reply.text for reply in replies}) == 1


def test_the_canary_passes(engine):
    asyncio.run(canary.check(engine))


def test_requests_in_flight_wait_for_each_other(engine):
    async def together():
        return await asyncio.gather(*(engine.generate(request(seed=seed)) for seed in (1, 2, 1)))

    first, second, third = asyncio.run(together())
    assert first == third == generate(engine, request())
    assert second != first


def log_probabilities(folder, ids):
    """An independent formula: softmax by hand, token by token."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    found = []
    for at in range(1, len(ids)):
        with torch.no_grad():
            logits = model(torch.tensor([ids[:at]])).logits[0, -1].double().tolist()
        top = max(logits)
        total = sum(math.exp(value - top) for value in logits)
        found.append(logits[ids[at]] - top - math.log(total))
    return found


@pytest.mark.parametrize(("text", "tokens"), [("The food", 7), ("The food was good. " * 7, 132)])
def test_a_text_is_scored_token_by_token(engine, folder, text, tokens):
    ids = AutoTokenizer.from_pretrained(folder)(text, add_special_tokens=False)["input_ids"]
    expected = log_probabilities(folder, ids)
    score = asyncio.run(engine.score(text))
    assert score.tokens == len(expected) == tokens
    assert score.mean == pytest.approx(sum(expected) / tokens, abs=1e-4)
    assert score.worst == pytest.approx(min(expected), abs=1e-4)


def test_a_blank_is_filled_with_the_likeliest_next_tokens(engine, folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    found = asyncio.run(engine.propose(Blank("Fill in ", "the food", 5)))
    ids = tokenizer("Fill in the food")["input_ids"]
    assert found.prompt_tokens == len(ids)
    assert len(found.tokens) == 5
    values = [value for _, value in found.tokens]
    assert values == sorted(values, reverse=True)
    first = max(range(len(tokenizer)), key=lambda one: log_probabilities(folder, [*ids, one])[-1])
    assert found.tokens[0][0] == tokenizer.decode([first])
    assert values[0] == pytest.approx(log_probabilities(folder, [*ids, first])[-1], abs=1e-4)


def test_a_text_of_one_token_has_nothing_to_score(engine):
    assert asyncio.run(engine.score("x")).tokens == 0


@pytest.mark.parametrize("ask", [lambda one: one.score("The food"),
                                 lambda one: one.propose(Blank("Fill in: ___", "so"))])  # fmt: skip
def test_a_model_whose_numbers_overflow_is_named(folder, ask):
    broken = load(folder)
    with torch.no_grad():
        broken._model.get_output_embeddings().weight.fill_(float("inf"))
    with pytest.raises(EngineError, match="no finite number") as caught:
        asyncio.run(ask(broken))
    assert "runtime.dtype=float32" in caught.value.hint


@pytest.fixture(scope="module")
def chatty(tmp_path_factory):
    """A model with a chat template and a token that begins every sequence."""
    path = tiny_model(tmp_path_factory.mktemp("chatty"), "llama", causal=True)
    tokenizer = AutoTokenizer.from_pretrained(path)
    tokenizer.bos_token = "!"
    tokenizer.chat_template = (
        "{{ bos_token }}{% for message in messages %}"
        "<{{ message['role'] }}>{{ message['content'] }}{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{{ '<t>' if enable_thinking|d(1) }}{% endif %}"
    )
    tokenizer.save_pretrained(path)
    return path


def prompt_of(engine, monkeypatch):
    """The token text that the model is really given for the prompt `Say so.`."""
    seen = []
    real = engine._model.generate

    def spy(*arguments, **options):
        seen.append(options["input_ids"][0].tolist())
        return real(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(engine._model, "generate", spy)
        [reply] = generate(engine, request(count=1))
    assert reply.prompt_tokens == len(seen[0])
    return engine._tokenizer.decode(seen[0])


def test_the_chat_template_is_applied_once_and_asks_for_no_thoughts(chatty, monkeypatch):
    chat = load(chatty, raw_prompts=False)
    assert prompt_of(chat, monkeypatch) == "!<user>Say so.<assistant>"
    assert prompt_of(load(chatty), monkeypatch) == "!Say so."


def test_a_tokenizer_that_begins_sequences_itself_does_so_once(chatty, monkeypatch):
    from tokenizers import processors

    engine = load(chatty, raw_prompts=False)
    bos = engine._tokenizer.bos_token_id
    engine._tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="! $A", special_tokens=[("!", bos)]
    )
    for raw in (True, False):
        one = TransformersEngine(engine._model, engine._tokenizer, raw_prompts=raw, max_length=2048)
        expected = "!Say so." if raw else "!<user>Say so.<assistant>"
        assert prompt_of(one, monkeypatch) == expected


def test_scoring_starts_from_the_token_that_begins_a_sequence(chatty):
    assert asyncio.run(load(chatty).score("The")).tokens == 3


def test_scoring_starts_from_the_token_that_the_model_names_if_its_tokenizer_has_none(
    folder, tmp_path
):
    assert asyncio.run(load(folder).score("The")).tokens == 2
    named = shutil.copytree(folder, tmp_path / "named")
    settings = json.loads((named / "config.json").read_text())
    end = AutoTokenizer.from_pretrained(named).eos_token_id
    (named / "config.json").write_text(json.dumps(settings | {"bos_token_id": end}))
    assert asyncio.run(load(named).score("The")).tokens == 3


def test_what_is_too_long_for_the_context_is_refused(folder):
    engine = load(folder, max_length=120)
    [reply] = generate(engine, request(count=1, max_tokens=120))
    assert reply.finish_reason == "refused: 127 tokens, and the context has 120"
    long = asyncio.run(engine.propose(Blank("Say so. " * 20, '{"text": "')))
    assert (long.tokens, long.finish_reason[:8]) == ((), "refused:")
    with pytest.raises(EngineError, match="200 characters can't be scored") as caught:
        asyncio.run(engine.score("good " * 40))
    assert "max_model_len" in caught.value.hint
    own = load(folder, max_length=10**6)
    assert generate(own, request(count=1, max_tokens=5000))[0].finish_reason.endswith("has 4096")


def test_proposals_have_the_space_that_a_tokenizer_leaves_out(folder):
    from transformers import LlamaTokenizer

    known = ["<unk>", "<s>", "</s>", "▁", *'abcdefghijklmnopqrstuvwxyz{}":', "good", "▁good"]
    tokenizer = LlamaTokenizer(vocab={word: at for at, word in enumerate(known)}, merges=[])
    assert tokenizer.decode([len(known) - 1]) == "good"
    engine = TransformersEngine(load(folder)._model, tokenizer, raw_prompts=True, max_length=2048)
    found = asyncio.run(engine.propose(Blank("so", '{"a": "so', count=300))).tokens
    assert {"good", " good"} <= {word for word, _ in found}


@pytest.mark.parametrize("kind", ["encoder", "no weights", "damaged", "pickled"])
def test_a_folder_that_holds_no_generator_is_named(tmp_path, kind):
    path = tiny_model(tmp_path, "bert" if kind == "encoder" else "llama", causal=kind != "encoder")
    weights = path / "model.safetensors"
    if kind == "damaged":
        weights.write_bytes(b"not safetensors")
    elif kind == "pickled":
        weights.rename(path / "pytorch_model.bin")
    elif kind == "no weights":
        weights.unlink()
    if kind == "encoder":
        config = json.loads((path / "config.json").read_text())
        (path / "config.json").write_text(json.dumps({**config, "model_type": "vit"}))
    with pytest.raises(ModelError, match="can't be loaded as a generator"):
        load(path)


def test_a_plan_of_the_search_can_be_answered(engine):
    example = Example(id="1", text="The food was good.", label=1)
    task = Task(example, 1, 0, np.array([0.0, 0.0, 0.0, 2.0]))
    planner = planner_of(candidates=3, sampling=Sampling(max_tokens=80))
    for strategy in ("guided", "free"):
        rows = []
        for plan in planner.plan(task, 0, strategy):
            short = dataclasses.replace(plan.request, prompt="Edit:")
            rows += candidates_of(plan, generate(engine, short))
        assert len(rows) == 3
        for row in rows:
            assert row.text is not None or row.failure
            if strategy == "guided":
                assert row.text.startswith("The food was")
