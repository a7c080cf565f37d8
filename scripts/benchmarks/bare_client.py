"""The client to compare with: a plain asyncio loop that sends recorded requests with openai."""

import asyncio
import time
from collections.abc import Iterator, Sequence

import openai

from codlocal.generation.engines.recording import Question


def requests_per_second(
    url: str, key: str, model: str, questions: Sequence[Question], concurrency: int
) -> float:
    """Send the questions in order, with up to `concurrency` in flight."""
    begun = time.monotonic()
    asyncio.run(_send(openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key), model, questions,
                      concurrency))  # fmt: skip
    return len(questions) / (time.monotonic() - begun)


async def _send(
    client: openai.AsyncOpenAI, model: str, questions: Sequence[Question], concurrency: int
) -> None:
    waiting = iter(questions)
    async with client:
        await asyncio.gather(*(_work(client, model, waiting) for _ in range(concurrency)))


async def _work(client: openai.AsyncOpenAI, model: str, waiting: Iterator[Question]) -> None:
    for question in waiting:
        if question.begun is not None:
            await client.chat.completions.create(
                model=model,
                messages=[
                    {"role": "user", "content": question.prompt},
                    {"role": "assistant", "content": question.begun},
                ],
                temperature=0,
                max_completion_tokens=1,
                logprobs=True,
                top_logprobs=question.count,
                extra_body={"add_generation_prompt": False, "continue_final_message": True},
            )
        elif question.sampling is None:
            await client.completions.create(
                model=model, prompt=question.prompt, max_tokens=1, temperature=0,
                extra_body={"prompt_logprobs": 0},
            )  # fmt: skip
        else:
            await client.chat.completions.create(
                model=model,
                messages=[{"role": "user", "content": question.prompt}],
                n=question.count,
                seed=question.seed,
                temperature=question.sampling.temperature,
                top_p=question.sampling.top_p,
                max_completion_tokens=question.sampling.max_tokens,
                extra_body={"structured_outputs": {"regex": question.constraint}},
            )
