"""The second engine: Outlines over transformers in this process, for machines without vLLM.

One request is one batch: its replies share a prompt and a constraint, so the grammar is compiled
once. llguidance compiles lazily, which a constraint per example needs.
"""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import outlines
import torch
from outlines.types import JsonSchema, Regex

from codlocal.core.records import Fluency
from codlocal.generation.engine import Reply, Request, fluency

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class TransformersEngine:
    """Generates in this process; requests wait for each other.

    Args:
        model: a causal language model, in evaluation mode on its device.
        tokenizer: its tokenizer; a pad token is chosen if it has none.
        raw_prompts: pass prompts through instead of applying the chat template.
        lock: serialises the model's use; made anew for each event loop.

    """

    def __init__(
        self, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", *, raw_prompts: bool
    ) -> None:
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        self._model = model
        self._tokenizer = tokenizer
        self._raw = raw_prompts or not tokenizer.chat_template
        self._outlines = outlines.from_transformers(model, tokenizer)
        self._lock = asyncio.Lock()

    @classmethod
    def load(
        cls, path: Path, *, device: torch.device, dtype: torch.dtype, raw_prompts: bool
    ) -> "TransformersEngine":
        """Load a model directory: safetensors only, no code of its own."""
        from transformers import AutoModelForCausalLM, AutoTokenizer

        model = AutoModelForCausalLM.from_pretrained(
            path,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
        )
        tokenizer = AutoTokenizer.from_pretrained(
            path, trust_remote_code=False, local_files_only=True
        )
        return cls(model.to(device=device).eval(), tokenizer, raw_prompts=raw_prompts)

    async def generate(self, request: Request) -> list[Reply]:
        """Return `request.count` replies from one batch."""
        async with self._lock:
            return await asyncio.to_thread(self._generate, request)

    async def score(self, text: str) -> Fluency:
        """Return the log-probability per token of a text."""
        async with self._lock:
            return await asyncio.to_thread(self._score, text)

    async def aclose(self) -> None:
        """Nothing to close: the model goes with the object."""

    def _generate(self, request: Request) -> list[Reply]:
        constraint = request.constraint
        term = Regex(constraint) if isinstance(constraint, str) else JsonSchema(constraint)
        generator = outlines.Generator(self._outlines, term, backend="llguidance")
        prompt = self._prompt(request.prompt)
        with torch.random.fork_rng():
            torch.manual_seed(request.seed)
            texts: list[str] = generator.batch([prompt] * request.count, **self._sampling(request))
        prompt_tokens = len(self._tokenizer(prompt)["input_ids"])
        return [self._reply(text, request.sampling.max_tokens, prompt_tokens) for text in texts]

    def _prompt(self, text: str) -> str:
        if self._raw:
            return (self._tokenizer.bos_token or "") + text
        rendered = self._tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True
        )
        return str(rendered)

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

    @torch.inference_mode()
    def _score(self, text: str) -> Fluency:
        prefix = self._tokenizer.bos_token or ""
        encoded = self._tokenizer(prefix + text, add_special_tokens=False, return_tensors="pt").to(
            self._model.device
        )
        ids = encoded["input_ids"]
        if ids.shape[1] < 2:
            return fluency([])
        logits = self._model(**encoded).logits[0, :-1].float()
        chosen = logits.log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
        return fluency(chosen.tolist())
