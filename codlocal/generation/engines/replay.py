"""The engine of a replay: it answers from another run's store, and from nothing else."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from codlocal.core.errors import EngineError, RunError
from codlocal.core.jsonl import read_rows
from codlocal.core.keyed_rows import KeyedRows
from codlocal.core.records import Fluency
from codlocal.generation.engines.engine import Blank, Proposals, Reply, Request, fluency
from codlocal.generation.engines.recording import (
    Exchange,
    Generator,
    Question,
    failure_of,
    key_of,
)

_HINT = (
    "A replay needs the recorded run's settings, texts and teacher, and the codlocal that made it: "
    "take the settings with --config {folder}/run.toml, the same data, and the very teacher with "
    "--teacher FOLDER."
)


def recorded_generator(path: Path, wanted: Generator) -> Generator:
    """The generator of a store that is `wanted` but for its weights, which only the store knows.

    It is the last one: a run may have gone on with other weights as long as nothing was scored.

    Raises:
        EngineError: the store has answers of others only.
        RunError: the file is damaged.

    """
    try:
        asked = {row.generator: at for at, row in enumerate(read_rows(path, Exchange))}
    except RunError as error:
        advice = "Restore that file from a copy, or choose another --replay."
        raise RunError(error.message, advice) from error
    alike = [one for one in asked if one.is_like(wanted)]
    if alike:
        return max(alike, key=asked.__getitem__)
    names = ", ".join(map(_name, asked)) or "nobody"
    raise EngineError(
        f"{path} has no answers of {_name(wanted)}, only of {names}.",
        _HINT.format(folder=path.parent),
    )


def _name(generator: Generator) -> str:
    return f"{generator.name} ({generator.engine}, {generator.prompting})"


class Replay:
    """Answers what was recorded, failures included; all else is an error that says what differs.

    Args:
        path: the store's file, for messages.
        store: the recorded exchanges.
        generator: whose answers are replayed.
        differences: says in which settings the recorded run differs from this one.

    """

    def __init__(
        self,
        path: Path,
        store: KeyedRows[Exchange],
        generator: Generator,
        differences: Callable[[], Sequence[str]],
    ) -> None:
        self._path = path
        self._store = store
        self._generator = generator
        self._differences = differences

    async def generate(self, request: Request) -> list[Reply]:
        """Return the recorded replies.

        Raises:
            EngineError: there are none.

        """
        return list(self._find(Question.of(request)).replies)

    async def propose(self, blank: Blank) -> Proposals:
        """Return the recorded next tokens.

        Raises:
            EngineError: there are none.

        """
        found = self._find(Question.of_blank(blank)).proposals
        return found or Proposals((), 0)

    async def score(self, text: str) -> Fluency:
        """Return the recorded score of a text.

        Raises:
            EngineError: there is none.

        """
        found = self._find(Question(prompt=text)).fluency
        return found or fluency([])

    async def aclose(self) -> None:
        """Nothing to close: the store belongs to whoever opened it."""

    def _find(self, question: Question) -> Exchange:
        key = key_of(self._generator, question)
        found = self._store.get(key) or self._store.get(failure_of(key))
        if found is None:
            raise self._miss(question)
        return found

    def _miss(self, question: Question) -> EngineError:
        recorded = (row.question for row in read_rows(self._path, Exchange))
        reasons = [*self._differences(), *never_asked(question, recorded)]
        return EngineError(
            f"{self._path} has no answer to a request of this run:\n  " + "\n  ".join(reasons),
            _HINT.format(folder=self._path.parent),
        )


def never_asked(question: Question, recorded: Iterable[Question]) -> list[str]:
    """The parts of a question that no recorded one of its kind has; the wording comes last."""
    missing = _parts(question)
    values: dict[str, set[str]] = {name: set() for name in missing}
    for one in recorded:
        if _kind(one) != _kind(question):
            continue
        for name, value in _parts(one).items():
            if value == missing.get(name):
                del missing[name]
            elif name in _SHOWN and name in missing:
                values[name].add(str(value))
    return [_describe(name, value, values[name]) for name, value in missing.items()] or [
        "every part of it was asked, but never all together"
    ]


_SHOWN = ("temperature", "top_p", "max_tokens", "count")


def _kind(question: Question) -> tuple[bool, bool]:
    return question.sampling is None, question.begun is None


def _parts(question: Question) -> dict[str, object]:
    if question.begun is not None:
        return {"count": question.count, "beginning": question.begun, "prompt": question.prompt}
    if question.sampling is None:
        return {"text": question.prompt}
    sampling = question.sampling
    return {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "count": question.count,
        "seed": question.seed,
        "constraint": question.constraint,
        "prompt": question.prompt,
    }


def _describe(name: str, value: object, recorded: set[str]) -> str:
    if name in _SHOWN:
        return f"{name} {value}, recorded: {', '.join(sorted(recorded)) or 'nothing'}"
    return f"the {name} was never asked: {str(value)[-160:]!r}"
