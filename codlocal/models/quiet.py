"""Keeps the model libraries' own bars and warnings off the console, which belongs to codlocal."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partialmethod


def silence_libraries() -> None:
    """Turn off progress bars, advice and telemetry of transformers and of the hub client."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import logging

    from huggingface_hub.utils.tqdm import disable_progress_bars
    from transformers.utils import logging as transformers_logging

    disable_progress_bars()
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    for library in ("transformers", "huggingface_hub", "accelerate", "bitsandbytes"):
        logging.getLogger(library).setLevel(logging.ERROR)


@contextmanager
def no_bars() -> Iterator[None]:
    """Keep every tqdm bar off the console while the block runs, those without a switch too."""
    from tqdm import tqdm

    original = tqdm.__init__
    tqdm.__init__ = partialmethod(original, disable=True)
    try:
        yield
    finally:
        tqdm.__init__ = original
