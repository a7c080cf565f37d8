"""The client of a vLLM server: Outlines turns the constraint into the request, openai sends it.

Outlines' own `generate` returns bare strings; its type adapter is used directly, so that
`finish_reason` and the token counts of every reply can be checked.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address
from urllib.parse import urlsplit

import openai
from outlines.models.vllm import VLLMTypeAdapter
from outlines.types import Regex

from codlocal.core.errors import EngineError
from codlocal.core.records import Fluency
from codlocal.generation.engines import answers, bounds
from codlocal.generation.engines.causes import SEED_CRASH
from codlocal.generation.engines.engine import (
    MOST_PROPOSALS,
    NO_REPLY,
    Blank,
    Proposals,
    Reply,
    Request,
    fluency,
    proposals,
    refusal,
)

_TIMEOUT_SECONDS = 600.0
_RETRIES = 3
_DYING_SECONDS = 10.0
_DYING_POLLS = 50
_ALWAYS_ALLOWED = 20
"""Next tokens that vLLM gives unless it was started with another limit."""

_REFUSALS = (openai.BadRequestError, openai.UnprocessableEntityError)
"""What a server answers to a request that is wrong in itself."""

_PLAIN_SAMPLING = {
    "top_k": 0,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
}
"""What a request leaves out, a server takes from the model's `generation_config.json`.

Qwen2.5's, for one, has a penalty for repetition, which is what an edit has to do with most words.
"""
_NO_THOUGHTS = {"chat_template_kwargs": {"enable_thinking": False}}

_LEAST_GENERATED = 1
"""Tokens that a server generates even if all that is wanted are the prompt's."""


class VllmEngine:
    """Talks to one vLLM server over its OpenAI-compatible interface.

    Args:
        url: the server's root, without `/v1`.
        key: the server's API key.
        model: the name under which it serves the model.
        scoring_prefix: put before a text that is scored, so that its first word has a context
            (the model's beginning-of-sequence token).
        seeds: send every request's seed, so that the same request gets the same replies.
        thinks: the model thinks before it answers, unless it is told not to; it is told.
        explain_death: says why our own server is gone, once it is; None while it lives. A server
            of somebody else's has none.

    """

    def __init__(
        self,
        url: str,
        key: str,
        model: str,
        *,
        scoring_prefix: str = "",
        seeds: bool = True,
        thinks: bool = False,
        explain_death: Callable[[], EngineError | None] | None = None,
    ) -> None:
        self._url = url
        self._model = model
        self._prefix = scoring_prefix
        self._seeds = seeds
        self._options = _PLAIN_SAMPLING | (_NO_THOUGHTS if thinks else {})
        self._explain_death = explain_death
        self._most_proposals = MOST_PROPOSALS
        self._adapter = VLLMTypeAdapter()
        self._client = openai.AsyncOpenAI(
            base_url=f"{url}/v1",
            api_key=key,
            timeout=_TIMEOUT_SECONDS,
            max_retries=_RETRIES,
            default_headers=bounds.HEADERS,
            http_client=openai.DefaultAsyncHttpxClient(
                trust_env=not is_loopback(url),
                follow_redirects=False,
                event_hooks={"response": [bounds.bound_async]},
            ),
        )

    async def generate(self, request: Request) -> list[Reply]:
        """Return `request.count` replies to a chat message that holds the prompt.

        Without a temperature all replies are the same: one is asked for.

        Raises:
            EngineError: the server is gone, refuses us, or answers something else.

        """
        different = request.count if request.sampling.temperature else 1
        try:
            response = await self._client.chat.completions.with_raw_response.create(
                model=self._model,
                messages=self._adapter.format_input(request.prompt),
                n=different,
                seed=request.seed if self._seeds else None,
                temperature=request.sampling.temperature,
                top_p=request.sampling.top_p,
                max_completion_tokens=request.sampling.max_tokens,
                extra_body={
                    **self._options,
                    **self._adapter.format_output_type(Regex(request.constraint)),
                },
            )
        except _REFUSALS as error:
            # One request that the server can't serve (a text beyond its context) is no reason to
            # end the run: its replies fail, with the reason.
            return [Reply("", _refused(error), 0, 0)] * request.count
        except openai.OpenAIError as error:
            raise await self._failure(error) from error
        replies = _replies(answers.read(answers.Chat, response.content, self._url), different)
        copy = replace(replies[0], completion_tokens=0)
        return replies + [copy] * (request.count - different)

    async def propose(self, blank: Blank) -> Proposals:
        """Return the likeliest next tokens of a reply that has begun.

        A server that was not told to allow so many gives as many as any server does.

        Raises:
            EngineError: the server is gone, refuses us, or gives no next tokens.

        """
        count = min(blank.count, self._most_proposals)
        try:
            return await self._propose(blank, count)
        except _REFUSALS as error:
            if count > _ALWAYS_ALLOWED and "logprobs" in error.message:
                self._most_proposals = _ALWAYS_ALLOWED
                return await self.propose(blank)
            return Proposals((), 0, _refused(error))
        except openai.OpenAIError as error:
            raise await self._failure(error) from error

    async def _propose(self, blank: Blank, count: int) -> Proposals:
        response = await self._client.chat.completions.with_raw_response.create(
            model=self._model,
            messages=[
                *self._adapter.format_input(blank.prompt),
                {"role": "assistant", "content": blank.begun},
            ],
            temperature=0,
            max_completion_tokens=1,
            logprobs=True,
            top_logprobs=count,
            extra_body={
                **self._options,
                "add_generation_prompt": False,
                "continue_final_message": True,
            },
        )
        found = answers.read(answers.Continuation, response.content, self._url)
        tokens = found.choices[0].logprobs.content[0].top_logprobs[:count]
        return proposals(
            ((one.token, one.logprob) for one in tokens),
            found.usage.prompt_tokens if found.usage else 0,
        )

    async def score(self, text: str) -> Fluency:
        """Score a text by its tokens' log-probabilities as a prompt.

        A server always goes on with a prompt, too: the token that it generates is counted.

        Raises:
            EngineError: the server is gone, refuses the text, or does not score it.

        """
        try:
            response = await self._client.completions.with_raw_response.create(
                model=self._model,
                prompt=self._prefix + text,
                max_tokens=_LEAST_GENERATED,
                temperature=0,
                extra_body={"prompt_logprobs": 0, "add_special_tokens": not self._prefix},
            )
        except _REFUSALS as error:
            raise EngineError(
                f"The server at {self._url} can't score a text of {len(text)} characters: {error}.",
                "If it is longer than the model's context, have the server take longer ones "
                "(--set runtime.max_model_len=8192), or leave such texts out of the data.",
            ) from error
        except openai.OpenAIError as error:
            raise await self._failure(error) from error
        found = answers.read(answers.Reading, response.content, self._url)
        generated = found.usage.completion_tokens if found.usage else _LEAST_GENERATED
        read = found.choices[0]
        return fluency(read.log_probabilities, read.token_ids, generated)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _failure(self, error: openai.OpenAIError) -> EngineError:
        if isinstance(error.__cause__, bounds.BoundsError):
            return answers.unusable(self._url, f"{error.__cause__}.")
        if isinstance(error, (openai.APIConnectionError, openai.InternalServerError)):
            death = await self._death()
            if death is not None:
                return death
            what, why = "does not answer", "Is it running, and is the address right? "
            if isinstance(error, openai.InternalServerError):
                what, why = f"answers {error.status_code}", "Its log says why. "
            return EngineError(
                f"The server at {self._url} {what}: {error.message.rstrip('.')}.",
                f"{why}Rows so far are kept: run the same command again to go on. If its log says "
                f"{SEED_CRASH!r}, add --set runtime.request_seeds=false",
            )
        if isinstance(error, openai.AuthenticationError):
            return EngineError(
                f"The server at {self._url} refuses the key.",
                "Set CODLOCAL_SERVER_KEY to the key that the server was started with.",
            )
        if isinstance(error, openai.APIStatusError) and error.response.is_redirect:
            return EngineError(
                f"The server at {self._url} sends requests on to another address "
                f"({error.response.headers.get('Location')}), where texts are never sent.",
                "If that is the server that you mean, give its own address with --server-url.",
            )
        return EngineError(
            f"The server at {self._url} refuses a request: {error}.",
            "Rows so far are kept: run the same command again to go on.",
        )

    async def _death(self) -> EngineError | None:
        """Why our own server is gone; a server whose engine has crashed takes a while to end."""
        if self._explain_death is None:
            return None
        for _ in range(_DYING_POLLS):
            death = self._explain_death()
            if death is not None:
                return death
            await asyncio.sleep(_DYING_SECONDS / _DYING_POLLS)
        return None


def is_loopback(url: str) -> bool:
    """Whether a server is on this machine: it is then never asked through a proxy."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _replies(found: answers.Chat, count: int) -> list[Reply]:
    """`count` replies, among which the tokens of the answer are shared out.

    Those that are missing have failed.
    """
    choices, usage = found.choices[:count], found.usage
    share, rest = divmod(usage.completion_tokens if usage else 0, max(len(choices), 1))
    replies = [
        Reply(
            text=choice.message.content or "",
            finish_reason=choice.finish_reason,
            prompt_tokens=usage.prompt_tokens if usage else 0,
            completion_tokens=share + (at < rest),
        )
        for at, choice in enumerate(choices)
    ]
    return replies + [Reply("", NO_REPLY, 0, 0)] * (count - len(replies))


def _refused(error: openai.APIStatusError) -> str:
    return refusal(error.message[:200])
