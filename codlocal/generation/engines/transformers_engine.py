"""The second engine: Outlines over transformers in this process, for machines without vLLM.

One request is one batch: its replies share a prompt and a constraint, so the grammar is compiled
once. llguidance compiles lazily, which a constraint per example needs.
"""

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import outlines
import torch
from outlines.types import Regex

from codlocal.core.errors import EngineError
from codlocal.core.records import Fluency
from codlocal.generation.engines.engine import (
    Blank,
    Proposals,
    Reply,
    Request,
    fluency,
    proposals,
    refusal,
)
from codlocal.models.configuration import named_errors
from codlocal.models.quiet import silence_libraries

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase


# llguidance compiles the few lines that apply its masks: that takes half a minute and a C++
# compiler, and gains nothing. Read when the first constraint is applied.
os.environ.setdefault("TORCH_COMPILE_DISABLE", "1")


_SPACE = "▁"
"""How SentencePiece writes the space before a word."""

_SCORED_AT_ONCE = 64
"""Tokens of a text; for each of them the whole vocabulary is gone through."""


class TransformersEngine:
    """Generates in this process; requests wait for each other.

    Args:
        model: a causal language model, in evaluation mode on its device.
        tokenizer: its tokenizer; a pad token is chosen if it has none.
        raw_prompts: pass prompts through instead of applying the chat template.
        max_length: tokens that prompt and reply have at most; never more than the model's own.

    """

    def __init__(
        self,
        model: "PreTrainedModel",
        tokenizer: "PreTrainedTokenizerBase",
        *,
        raw_prompts: bool,
        max_length: int,
    ) -> None:
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        model.generation_config = _plain_sampling(model.generation_config)
        self._model = model
        self._tokenizer = cast(Any, tokenizer)  # its methods are typed for one text only
        self._raw = raw_prompts or not tokenizer.chat_template
        self._longest = min(
            max_length, getattr(model.config, "max_position_embeddings", max_length)
        )
        self._begin = tokenizer.bos_token or ""
        self._scored_after = self._begin or _named_by_the_model(model, tokenizer)
        self._adds_begin = tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id
        self._outlines = cast(Any, outlines.from_transformers(model, self._tokenizer))
        # Prompts come to it complete; it would put them into the chat template once more.
        self._outlines.type_adapter.has_chat_template = False
        self._lock = asyncio.Lock()

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        device: torch.device,
        dtype: torch.dtype,
        raw_prompts: bool,
        max_length: int,
    ) -> "TransformersEngine":
        """Load a model directory: safetensors only, no code of its own.

        Raises:
            ModelError: it holds no causal language model that transformers can load.

        """
        from transformers import AutoModelForCausalLM, AutoTokenizer

        silence_libraries()
        local = {"trust_remote_code": False, "local_files_only": True}
        hint = (
            "It must be a causal language model; the folder may be damaged, or made for a newer "
            "transformers."
        )
        with named_errors(path, "generator", hint):
            model = AutoModelForCausalLM.from_pretrained(
                path, dtype=dtype, use_safetensors=True, **local
            )
            tokenizer = AutoTokenizer.from_pretrained(path, **local)
        on_device = cast(Any, model).to(device).eval()
        return cls(on_device, tokenizer, raw_prompts=raw_prompts, max_length=max_length)

    async def generate(self, request: Request) -> list[Reply]:
        """Return `request.count` replies from one batch; refused if they could be too long."""
        async with self._lock:
            return await asyncio.to_thread(self._generate, request)

    async def propose(self, blank: Blank) -> Proposals:
        """Return the likeliest next tokens of a reply; refused if its prompt is too long."""
        async with self._lock:
            return await asyncio.to_thread(self._propose, blank)

    async def score(self, text: str) -> Fluency:
        """Return the log-probability per token of a text.

        Raises:
            EngineError: the text is longer than the model's context.

        """
        async with self._lock:
            return await asyncio.to_thread(self._score, text)

    async def aclose(self) -> None:
        """Nothing to close: the model goes with the object."""

    def _generate(self, request: Request) -> list[Reply]:
        term = Regex(request.constraint)
        generator: Any = outlines.Generator(self._outlines, term, backend="llguidance")
        prompt = self._prompt(request.prompt)
        prompt_tokens = len(self._tokenizer(prompt)["input_ids"])
        refused = self._refused(prompt_tokens + request.sampling.max_tokens)
        if refused:
            return [Reply("", refused, 0, 0)] * request.count
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(request.seed)
            texts: list[str] = generator.batch([prompt] * request.count, **self._sampling(request))
        return [self._reply(text, request.sampling.max_tokens, prompt_tokens) for text in texts]

    def _prompt(self, text: str) -> str:
        """The whole prompt; the tokenizer may put the token that begins a sequence before it."""
        if self._raw:
            whole = self._begin + text
        else:
            whole = self._tokenizer.apply_chat_template(
                [{"role": "user", "content": text}],
                tokenize=False,
                add_generation_prompt=True,
                enable_thinking=False,  # of templates that know it: a reply is all that is wanted
            )
        return whole.removeprefix(self._begin) if self._adds_begin else whole

    @staticmethod
    def _sampling(request: Request) -> dict[str, Any]:
        sampling = request.sampling
        options: dict[str, Any] = {"max_new_tokens": sampling.max_tokens}
        if sampling.temperature == 0:
            return {**options, "do_sample": False}
        return {
            **options,
            "do_sample": True,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": 0,
        }

    def _reply(self, text: str, max_tokens: int, prompt_tokens: int) -> Reply:
        """Outlines gives text only: a reply that fills the limit was cut."""
        tokens = len(self._tokenizer(text, add_special_tokens=False)["input_ids"])
        return Reply(text, "length" if tokens >= max_tokens else "stop", prompt_tokens, tokens)

    def _refused(self, tokens: int) -> str | None:
        """Why so many tokens can't be read and written; None if they can."""
        if tokens <= self._longest:
            return None
        return refusal(f"{tokens} tokens, and the context has {self._longest}")

    @torch.inference_mode()
    def _propose(self, blank: Blank) -> Proposals:
        whole = self._prompt(blank.prompt) + blank.begun
        encoded = self._tokenizer(whole, return_tensors="pt").to(self._model.device)
        refused = self._refused(encoded["input_ids"].shape[1] + 1)
        if refused:
            return Proposals((), 0, refused)
        logits = self._model(**encoded, logits_to_keep=1).logits[0, -1].float()
        found = logits.log_softmax(-1).topk(min(blank.count, len(logits)))
        words = [self._word(token) for token in found.indices.tolist()]
        tokens = zip(words, found.values.tolist(), strict=True)
        return proposals(tokens, encoded["input_ids"].shape[1])

    def _word(self, token: int) -> str:
        """The text of a token; some tokenizers leave out the space with which it begins."""
        word: str = self._tokenizer.decode([token])
        piece = self._tokenizer.convert_ids_to_tokens(token)  # None: the model has more than it
        spaced = piece is not None and piece.startswith(_SPACE)
        return f" {word}" if spaced and not word.startswith(" ") else word

    @torch.inference_mode()
    def _score(self, text: str) -> Fluency:
        encoded = self._tokenizer(
            self._scored_after + text, add_special_tokens=False, return_tensors="pt"
        ).to(self._model.device)
        ids = encoded["input_ids"]
        if ids.shape[1] < 2:
            return fluency([])
        refused = self._refused(ids.shape[1])
        if refused:
            raise EngineError(
                f"A text of {len(text)} characters can't be scored: {refused}.",
                "If the model can take longer ones, allow it to (--set "
                "runtime.max_model_len=8192), or leave such texts out of the data.",
            )
        logits, chosen = self._model(**encoded).logits[0, :-1], ids[0, 1:, None]
        parts = zip(logits.split(_SCORED_AT_ONCE), chosen.split(_SCORED_AT_ONCE), strict=True)
        found = [rows.float().log_softmax(-1).gather(1, tokens)[:, 0] for rows, tokens in parts]
        return fluency(torch.cat(found).tolist(), chosen[:, 0].tolist())


def _named_by_the_model(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> str:
    """The token by which a model says that texts begin, where its tokenizer says nothing."""
    number = getattr(model.config, "bos_token_id", None)
    token = tokenizer.added_tokens_decoder.get(number) if isinstance(number, int) else None
    return "" if token is None else str(token.content)


def _plain_sampling(own: "GenerationConfig | None") -> "GenerationConfig":
    """Of a model's own settings the tokens alone: what else it brings is no part of a request."""
    from transformers import GenerationConfig

    names = ("bos_token_id", "eos_token_id", "pad_token_id")
    tokens = {name: getattr(own, name, None) for name in names}
    return GenerationConfig(**tokens)  # type: ignore[no-untyped-call]
