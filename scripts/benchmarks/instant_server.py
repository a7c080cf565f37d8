"""An OpenAI-compatible server that answers at once, for measuring the client.

Prints its address when it listens. It fills the last blank text of a prompt in with "bad".
"""

import asyncio
import json
import re
import sys
from typing import Any

_BLANKED = re.compile(r'"[^"\n]*___[^"\n]*"')


def _chat(payload: dict[str, Any]) -> dict[str, Any]:
    count = payload.get("n") or 1
    text = _BLANKED.findall(payload["messages"][-1]["content"])[-1].replace("___", "bad")
    message = {"role": "assistant", "content": f'{{"text": {text}}}'}
    choices = [{"index": at, "finish_reason": "stop", "message": message} for at in range(count)]
    return {"object": "chat.completion", "choices": choices, "usage": _usage(40, 8 * count)}


def _completion(_payload: dict[str, Any]) -> dict[str, Any]:
    logs = [None, *({"1": {"logprob": -1.0}} for _ in range(8))]
    choice = {"index": 0, "finish_reason": "length", "text": "", "prompt_logprobs": logs}
    return {"object": "text_completion", "choices": [choice], "usage": _usage(9, 1)}


def _usage(prompt: int, completion: int) -> dict[str, int]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


_ANSWERS = {b"/v1/chat/completions": _chat, b"/v1/completions": _completion}


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one connection's requests until it is closed."""
    while head := await _head(reader):
        path = head.split(b" ", 2)[1]
        payload = json.loads(await reader.readexactly(_length(head)))
        answer = {"id": "1", "created": 0, "model": "instant", **_ANSWERS[path](payload)}
        body = json.dumps(answer).encode()
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
            + str(len(body)).encode()
            + b"\r\n\r\n"
            + body
        )
        await writer.drain()
    writer.close()


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""


def _length(head: bytes) -> int:
    lines = (line.partition(b":") for line in head.split(b"\r\n"))
    return next(int(value) for name, _, value in lines if name.lower() == b"content-length")


async def _main() -> None:
    server = await asyncio.start_server(_serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    sys.stdout.write(f"http://{host}:{port}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main())
