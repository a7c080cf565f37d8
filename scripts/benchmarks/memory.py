"""The client's peak memory by the number of originals, against a server that answers at once.

Run as `python -m benchmarks.memory N FOLDER URL` it is the client that is measured: the generate
stage on N short texts, with a teacher of two words, one reply and one round an original.
"""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from codlocal.core import artifacts, jsonl
from codlocal.core.config import resolve
from codlocal.core.console import Console
from codlocal.core.records import DatasetSpec, Example, FewShotSplit
from codlocal.core.run import RunFolder

TEXT = "The food was good at table {} ."


class TwoWords:
    """A teacher who knows that good is good and bad is bad."""

    def predict_proba(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """Return probabilities of negative and positive, shape [len(texts), 2]."""
        odds = np.array([3.0 * ("good" in one) - 3.0 * ("bad" in one) for one in texts])
        positive = 1 / (1 + np.exp(-odds))
        return np.stack([1 - positive, positive], axis=1)


def peak_memory(sizes: Sequence[int], folder: Path) -> list[dict[str, Any]]:
    """Measure a fresh client process for each number of originals.

    Returns:
        For each size its peak resident memory in MB, seconds and requests.

    """
    script = Path(__file__).with_name("instant_server.py")
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            url = server.stdout.readline().strip() if server.stdout else ""
            return [_measure(size, folder / f"memory-{size}", url) for size in sizes]
        finally:
            server.kill()


def _measure(size: int, folder: Path, url: str) -> dict[str, Any]:
    place = str(folder.absolute())
    command = [sys.executable, "-m", "benchmarks.memory", str(size), place, url]
    root = Path(__file__).parents[1]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=root)
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


def _client(size: int, folder: Path, url: str) -> dict[str, Any]:
    from codlocal.generation.engines.recording import STORE, Generator, Recorder, store_at
    from codlocal.generation.engines.vllm_engine import VllmEngine
    from codlocal.generation.stage import run_generate
    from codlocal.pipeline.session import verification_of

    settings = {
        "dataset": {"k": 2 * size},
        "generator": {"candidates": 1, "rounds": ["guided"], "prompting": "completion"},
    }
    generator = Generator(name="x", engine="vllm", prompting="completion", weights="x")

    @contextmanager
    def open_engine() -> Iterator[Recorder]:
        with store_at(run.file(STORE)) as store:
            engine = VllmEngine(url, "none", "instant")
            yield Recorder(engine, store, generator, run.config.runtime.concurrency)

    begun = time.monotonic()
    with RunFolder.open(folder, resolve([settings])) as run:
        _write_data(run, size)
        teacher = TwoWords()
        verification = verification_of(run, teacher)
        run_generate(run, open_engine, teacher, verification, Console(-1))
        candidates = run.facts("generate")["candidates"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    seconds = round(time.monotonic() - begun, 1)
    return {"originals": size, "peak_mb": round(peak), "seconds": seconds, "candidates": candidates}


def _write_data(run: RunFolder, size: int) -> None:
    """Write the data stage's files: 2 * size texts that all differ, and are all good."""
    if run.is_done("data"):
        return
    with run.stage("data"):
        rows = (
            Example(id=f"train/{at}", text=TEXT.format(at), label=at % 2) for at in range(2 * size)
        )
        count = jsonl.write_rows(run.file(*artifacts.TRAIN), rows)
        jsonl.write_rows(run.file(*artifacts.TEST), [])
        ids = tuple(f"train/{at}" for at in range(count))
        jsonl.write_rows(run.file(*artifacts.FEW_SHOT), [FewShotSplit(seed=0, ids=ids)])
        spec = DatasetSpec(
            name="two-words", source="file", location="-", label_names=("negative", "positive"),
            train_rows=count, test_rows=0, sha256="0" * 64, task="sentiment",
        )  # fmt: skip
        jsonl.write_json(run.file(*artifacts.SPEC), spec.model_dump(mode="json"))


if __name__ == "__main__":
    number, place, address = sys.argv[1:]
    sys.stdout.write(json.dumps(_client(int(number), Path(place), address)))
