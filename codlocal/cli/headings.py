"""A command's help, with its options under headings, and the type of paths."""

from pathlib import Path
from typing import Any

import click


class Option(click.Option):
    """An option that belongs under a heading."""

    def __init__(self, *declared: Any, heading: str, **more: Any) -> None:
        super().__init__(*declared, **more)
        self.heading = heading


class Command(click.Command):
    """Lists its options by heading, and those without one under "Options"."""

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write all options, in the order in which headings first come up."""
        found: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(context):
            record = param.get_help_record(context)
            if record is not None:
                found.setdefault(getattr(param, "heading", "Options"), []).append(record)
        for heading, records in found.items():
            with formatter.section(heading):
                formatter.write_dl(records)


class Place(click.ParamType[Path | str]):
    """A path. An empty one is a shell variable that is not set, not the current folder."""

    name = "path"

    def __init__(self, kind: type[Path] | type[str] = Path) -> None:
        self._kind = kind

    def convert(
        self, value: Any, param: click.Parameter | None, context: click.Context | None
    ) -> Path | str:
        """The path that is written so."""
        if not str(value):
            self.fail("a path can't be empty.", param, context)
        return self._kind(value)
