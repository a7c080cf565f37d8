"""What the user sees: Rich progress on a terminal, plain lines in pipes and logs, JSON on request.

Progress, notes and errors go to standard error; results go to standard output, so that
`codlocal … --json | jq` works while progress is shown.
"""

import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console as RichConsole
from rich.console import ConsoleOptions, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.segment import Segment
from rich.table import Table

SILENT = -2
"""The verbosity of a process whose user listens to another one."""

_WIDEST = 1000
_STEERING = dict.fromkeys(
    [*range(0x20), 0x7F, *range(0x80, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)], "�"
)
"""Characters that steer a terminal or turn the order of what follows; line breaks are kept."""
del _STEERING[ord("\n")]

_PLAIN_SECONDS = 5.0


def harmless(text: str) -> str:
    """A text of somebody else's without what would steer the terminal."""
    return text.translate(_STEERING)


class _SafeConsole(RichConsole):
    """Prints names, labels and messages of others without what would steer the terminal."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for one in super().render(renderable, options):
            yield one if one.control else Segment(harmless(one.text), one.style)


class Task:
    """One running piece of work: `advance` it, and `note` counts to be shown beside the bar."""

    def __init__(self, description: str, total: int | None) -> None:
        self.description = description
        self.total = total
        self.completed = 0
        self.notes: dict[str, object] = {}
        self._begun = time.monotonic()

    def advance(self, steps: int = 1) -> None:
        """Count `steps` more as done."""
        self.completed += steps
        self._changed()

    def note(self, **notes: object) -> None:
        """Show these named values beside the bar, until they are noted anew."""
        self.notes.update(notes)
        self._changed()

    def grow(self, steps: int) -> None:
        """Add work that was not known at the start."""
        self.total = (self.total or 0) + steps
        self._changed()

    def _changed(self) -> None:
        """Redraw; a quiet console draws nothing."""

    @property
    def rate(self) -> float:
        """Steps per second since the start."""
        return self.completed / max(time.monotonic() - self._begun, 1e-9)

    def notes_line(self) -> str:
        """The notes as one line: `flips 12, pairs 8`."""
        return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in self.notes.items())


class _PlainTask(Task):
    def __init__(self, description: str, total: int | None, console: RichConsole) -> None:
        super().__init__(description, total)
        self._console = console
        self._printed = time.monotonic()

    def _changed(self) -> None:
        if time.monotonic() - self._printed >= _PLAIN_SECONDS:
            self.print()

    def print(self) -> None:
        self._printed = time.monotonic()
        words = [f"{self.description}:"]
        if self.total is not None:
            words.append(f"{self.completed}/{self.total}, {self.rate:.1f}/s,")
            if 0 < self.completed < self.total:
                words.append(f"{(self.total - self.completed) / self.rate:.0f} s left,")
        line = " ".join([*words, self.notes_line()]).rstrip(" :,")
        self._console.print(line, highlight=False, markup=False)


class _RichTask(Task):
    def __init__(self, description: str, total: int | None, progress: Progress) -> None:
        super().__init__(description, total)
        self._progress = progress
        self._bar = progress.add_task(description, total=total, notes="", rate="")

    def _changed(self) -> None:
        self._progress.update(
            self._bar,
            completed=self.completed,
            total=self.total,
            notes=self.notes_line(),
            rate=f"{self.rate:.1f}/s" if self.completed else "",
        )


def _columns(total: int | None) -> list[ProgressColumn]:
    """The parts of a progress line; without a total there is nothing to count down to."""
    counted = [
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    ]
    return [
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        *([] if total is None else counted),
        TimeElapsedColumn(),
        TextColumn("{task.fields[notes]}", style="cyan", markup=False),
    ]


class Console:
    """The one way to talk to the user.

    `verbosity`: `SILENT` but for errors, -1 quiet, 0 normal, 1 and more detailed.
    """

    def __init__(self, verbosity: int = 0, *, as_json: bool = False) -> None:
        self.verbosity = verbosity
        self.as_json = as_json
        # Labels and paths may have :words: that Rich would draw as emoji.
        self._err = _SafeConsole(stderr=True, soft_wrap=True, emoji=False)
        self._out = _SafeConsole(emoji=False)

    @property
    def interactive(self) -> bool:
        """Whether progress is drawn live on a terminal."""
        return self._err.is_terminal

    def info(self, message: str) -> None:
        """Say something that every user wants to know."""
        if self.verbosity >= 0:
            self._err.print(message, highlight=False, markup=False)

    def detail(self, message: str) -> None:
        """Say something that only `-v` users want to know."""
        if self.verbosity >= 1:
            self._err.print(message, highlight=False, markup=False)

    def warn(self, message: str) -> None:
        """Say something that may spoil the result; shown even when quiet."""
        if self.verbosity > SILENT:
            self._err.print("Warning:", style="yellow", end=" ")
            self._err.print(message, highlight=False, markup=False)

    def error(self, message: str, hint: str = "") -> None:
        """Say what went wrong and what to do about it."""
        self._err.print("Error:", style="bold red", end=" ")
        self._err.print(message, highlight=False, markup=False)
        if hint:
            self._err.print(f"Hint: {hint}", highlight=False, markup=False)

    @contextmanager
    def progress(self, description: str, total: int | None) -> Iterator[Task]:
        """Show a piece of work while the block runs.

        Without a terminal it is a line now and then: what has no total is told when it begins.
        """
        if self.verbosity < 0:
            yield Task(description, total)
        elif self.interactive:
            with Progress(*_columns(total), console=self._err) as progress:
                yield _RichTask(description, total, progress)
        else:
            task = _PlainTask(description, total, self._err)
            if total is None:
                task.print()
            try:
                yield task
            finally:
                if total is not None or task.notes:
                    task.print()

    def result(
        self, value: Mapping[str, Any], table: Table | Sequence[Table] | None = None
    ) -> None:
        """Give the command's result: JSON on standard output if asked for, else the tables."""
        if self.as_json:
            sys.stdout.write(json.dumps(value) + "\n")
            sys.stdout.flush()
            return
        if self.verbosity < 0 or table is None:
            return
        for one in [table] if isinstance(table, Table) else table:
            self._print_whole(one)

    def _print_whole(self, table: Table) -> None:
        """Print a table without cutting anything off; no line is too long for a file or a pipe."""
        for column in table.columns:
            column.overflow = "fold"
        if not self._out.is_terminal:
            wide = self._out.options.update(max_width=_WIDEST)
            self._out.width = max(self._out.width, self._out.measure(table, options=wide).maximum)
        self._out.print(table)
