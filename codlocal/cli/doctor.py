"""The doctor command."""

from pathlib import Path
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from codlocal.cli.headings import Command
from codlocal.cli.options import console_of, options

_STYLES = {"ok": "green", "warning": "yellow", "missing": "red"}


@click.command(cls=Command)
@options("doctor")
def doctor(**given: Any) -> int:
    """Say what is here, what is missing, how to get it.

    Exits with 3 if something is missing that the embedded profile needs.
    """
    from codlocal.airgap.doctor import as_json, examine

    console = console_of(given)
    chosen = given.get("engine_python")
    with console.progress("Examining this machine", None):
        findings = examine(Path(chosen) if chosen else None)
    table = Table(title="codlocal doctor")
    for heading in ("", "name", "state", "found", "how to get it"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        state = f"[{_STYLES[finding.state]}]{finding.state}[/]"
        area, name, found, remedy = map(
            escape, (finding.area, finding.name, finding.value, finding.remedy)
        )
        table.add_row(area, name, state, found, remedy)
    summary = as_json(findings)
    console.result(summary, table)
    if given["quiet"]:
        for one in findings:
            if one.state == "missing":
                console.warn(f"{one.name}: {one.value}. {one.remedy}")
    return 0 if summary["ready"] else 3
