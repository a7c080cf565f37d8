"""The command line: parse, build a configuration, bring a run up to a stage, print.

`main` is the one place that turns an error into a message, a hint and an exit code.
"""

import errno
import json
import pkgutil
import signal
import sys
import warnings
from contextlib import suppress
from io import StringIO, TextIOWrapper
from types import FrameType
from typing import NoReturn

import click

from codlocal import __version__
from codlocal.core import foreign, processes
from codlocal.core.errors import CodlocalError

_STAGES = "A run and its stages"
_SECTIONS = {
    _STAGES: {
        "pipeline": "codlocal.cli.stages:pipeline",
        "data": "codlocal.cli.stages:data",
        "teacher": "codlocal.cli.stages:teacher",
        "generate": "codlocal.cli.stages:generate",
        "verify": "codlocal.cli.stages:verify",
        "distill": "codlocal.cli.stages:distill",
        "evaluate": "codlocal.cli.stages:evaluate",
    },
    "Comparisons": {
        "measures": "codlocal.cli.measures:measures",
        "compare-generators": "codlocal.cli.compare:compare_generators",
        "ablate": "codlocal.cli.ablate:ablate",
        "report": "codlocal.cli.report:report",
        "theory": "codlocal.cli.theory:theory",
    },
    "This machine": {
        "doctor": "codlocal.cli.doctor:doctor",
        "engine": "codlocal.cli.engine:engine",
        "serve": "codlocal.cli.serve:serve",
    },
}
_COMMANDS = {name: place for section in _SECTIONS.values() for name, place in section.items()}
_INTERRUPTED = 130
_SYSTEM = {
    errno.EACCES: "Check the permissions of the file and of its folder, or choose another place.",
    errno.EISDIR: "A file is to be there: move the folder away, or choose another place.",
    errno.EROFS: "Choose a place that can be written to.",
    errno.EFBIG: "Raise the limit on the size of files (ulimit -f), or choose another disk.",
}


class _LazyGroup(click.Group):
    """Imports a command's module when it is asked for."""

    def list_commands(self, _context: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        command: click.Command = pkgutil.resolve_name(_COMMANDS[name])
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        widest = max(map(len, _COMMANDS))
        for title, names in _SECTIONS.items():
            commands = ((name, self.get_command(context, name)) for name in names)
            room = formatter.width - widest - 6
            rows = [
                (f"{name:<{widest}}", one.get_short_help_str(room)) for name, one in commands if one
            ]
            with formatter.section(title):
                formatter.write_dl(rows)


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start here: codlocal pipeline --dataset yelp --profile embedded",
)
@click.version_option(__version__)
@click.pass_context
def cli(context: click.Context) -> None:
    """Distil a big text classifier into a small one from a handful of labels, offline.

    A local language model writes counterfactuals of your texts, the teacher verifies every flip,
    and a small student learns from both. The commands of a run work on its folder, bring the
    stages before their own up to date, and continue where an earlier one stopped.
    """
    if processes.count() > 1 and context.invoked_subcommand not in _SECTIONS[_STAGES]:
        raise click.UsageError(
            f"`codlocal {context.invoked_subcommand}` is the work of one process: start it without "
            "a launcher."
        )


def main(command: click.Command = cli) -> None:
    """Run a command line and exit with the documented code."""
    _heed_signals()
    sys.stdout = sys.stdout or StringIO()  # closed: what is said is lost
    if isinstance(sys.stdout, TextIOWrapper):  # a label may have what its encoding has not
        sys.stdout.reconfigure(errors="backslashreplace")
    warnings.showwarning = _warn
    processes.join()
    try:
        result = command.main(standalone_mode=False)
    except CodlocalError as error:
        _fail(error.message, error.hint, error.exit_code)
    except (click.exceptions.Abort, KeyboardInterrupt):
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # once more ends it at once
        redo = any(word.partition("=")[0] == "--redo" for word in sys.argv)
        once = "; without --redo, if the old results are set aside already" if redo else ""
        _fail("Interrupted.", f"Run the same command again to go on{once}.", _INTERRUPTED)
    except click.ClickException as error:
        error.show()
        _end(error.format_message(), "", error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:
        _fail(*_os_error(error), 1)
    except Exception as error:
        system = foreign.system_error(error)
        told = foreign.told(error) or (_os_error(system) if system else None)
        if told is None:
            raise
        _fail(*told, 1)
    else:
        sys.exit(result if isinstance(result, int) else 0)


def _warn(message: Warning | str, *_place: object, **_more: object) -> None:
    """Show a warning as ours are shown: the place in the code is for programmers."""
    from codlocal.core.console import harmless

    # A live progress minds what is written to standard error, but no console beside its own.
    sys.stderr.write(f"Warning: {harmless(str(message))}\n")


def _heed_signals() -> None:
    signal.signal(signal.SIGTERM, _terminate)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # nohup has it ignored
        signal.signal(signal.SIGHUP, _terminate)


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    """Unwind on SIGTERM and SIGHUP as on Ctrl-C, so that servers stop and files close.

    While requests are in flight, asyncio has a handler of its own for Ctrl-C, which cancels them;
    an exception raised in the midst of a task would leave the others half done. A background job
    may have been started with Ctrl-C switched off.
    """
    if signal.getsignal(signal.SIGINT) in {signal.SIG_IGN, None}:
        raise KeyboardInterrupt
    signal.raise_signal(signal.SIGINT)


def _os_error(error: OSError) -> tuple[str, str]:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return f"The disk is full: {error.filename or error.strerror}.", foreign.FREE_SPACE
    told = f"{foreign.said(error)}: {error.filename or ''}".rstrip(": ") + "."
    return foreign.told(error) or (told, _SYSTEM.get(error.errno or 0, ""))


def _fail(message: str, hint: str, code: int) -> NoReturn:
    from codlocal.core.console import Console

    Console().error(message, hint)
    _end(message, hint, code)


def _end(message: str, hint: str, code: int) -> NoReturn:
    """Exit, and where JSON is asked for say why."""
    if "--json" in sys.argv:
        told = json.dumps({"error": message, "hint": hint, "exit_code": code}) + "\n"
        try:
            sys.stdout.write(told)
            sys.stdout.flush()
        except OSError:  # or Python would flush it again, in vain, at its end
            with suppress(OSError):
                sys.stdout.close()
    sys.exit(code)
