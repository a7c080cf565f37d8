"""The errors a user can meet, each with a hint and an exit code.

    CodlocalError                 exit 1   the user can mend it
    ├── ConfigError               exit 1   a setting or option is wrong
    ├── DataError                 exit 1   a file, column or label is wrong
    ├── ModelError                exit 1   a model directory or id can't be used
    ├── RunError                  exit 1   a run folder is busy, damaged or made with other settings
    ├── EngineError               exit 3   no generator engine, or it died
    │   └── SeedError             exit 3   it died of a request's seed
    ├── DeviceError               exit 3   the hardware that the settings need is not there
    └── QualityError              exit 4   the work was done, but a quality gate was not met

Click's own usage errors exit with 2. `codlocal.cli.main` is the one place that turns an
error into ``Error: … / hint`` and an exit code.
"""


class CodlocalError(Exception):
    """A foreseeable failure: what went wrong, what to do about it, and how to exit.

    Attributes:
        message: one sentence that names the thing that is wrong.
        hint: what the user can do next; may be empty.
        exit_code: the process's exit status.

    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        # What it quotes of others' messages may have a full stop of its own.
        if message.endswith("..") and not message.endswith("..."):
            message = message[:-1]
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigError(CodlocalError):
    """A setting, option or configuration file is wrong."""


class DataError(CodlocalError):
    """A data file, column, label or row is wrong."""


class ModelError(CodlocalError):
    """A model directory or id can't be used."""


class RunError(CodlocalError):
    """A run folder is busy, damaged, or was made with other settings."""


class EngineError(CodlocalError):
    """The generator engine is missing, died, or ignores constraints."""

    exit_code = 3


class SeedError(EngineError):
    """The engine died because it can't take a seed per request."""


class DeviceError(CodlocalError):
    """The settings need a device that this machine lacks."""

    exit_code = 3


class QualityError(CodlocalError):
    """The work finished, but its result is not good enough to go on with."""

    exit_code = 4
