"""Everything that can go wrong and that a person may meet, and the exit codes of the command line.

CockpitError                 message + hint; carries an exit code
├── UsageError               64  the command line asks for something that makes no sense
├── ConfigError              78  cockpit.toml is wrong; holds every Problem found
├── LinkError                69  a node cannot be reached (network, time-out, refused)
│   ├── HostKeyError         77  unknown or changed host key
│   ├── AuthenticationError  77  the node does not accept our keys
│   └── BootstrapError       69  reached, but the node runtime cannot start there
├── NodeError                69  an agent refused or failed a request
├── StartError               69  a gang start failed; holds one reason per node
├── ContactLost              75  contact to the nodes is lost while the job goes on
├── PackagingError           66  the working directory cannot be packed
└── JobNotFound              64  no job, or several, match what was given
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping, Sequence
from typing import Literal


class ExitCode(enum.IntEnum):
    """Exit codes that cockpit itself gives (sysexits.h where it has a word for it).

    A finished job gives its own: 0, the first failing rank's code, or 128 + its signal.
    """

    OK = 0
    FAILED = 1
    USAGE = 64
    NO_INPUT = 66
    IO_ERROR = 74
    UNAVAILABLE = 69
    CONTACT_LOST = 75
    PERMISSION = 77
    CONFIG = 78
    CANCELLED = 130


class CockpitError(Exception):
    """`message`: what was being done to what, and what went wrong. `hint`: what to do next."""

    exit_code: ExitCode = ExitCode.FAILED

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class UsageError(CockpitError):
    """`about`: which of the things that were asked for is wrong, where that can be told: the name
    of an argument of `profiles.resolve`."""

    exit_code = ExitCode.USAGE

    def __init__(self, message: str, hint: str = "", about: str = "") -> None:
        super().__init__(message, hint)
        self.about = about


@dataclasses.dataclass(frozen=True)
class Problem:
    """One defect of a configuration file. `line` and `column` count from 1; 0 is "unknown".

    A warning does not stop the file from being used.
    """

    message: str
    file: str = ""
    key: str = ""
    line: int = 0
    column: int = 0
    hint: str = ""
    level: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        where = self.file
        if self.line:
            where += f":{self.line}"
        text = f"{where}: {self.message}" if where else self.message
        return f"{text} ({self.hint})" if self.hint else text


class ConfigError(CockpitError):
    """One or more problems of the configuration."""

    exit_code = ExitCode.CONFIG

    def __init__(self, problems: Sequence[Problem]) -> None:
        first = str(problems[0]) if problems else "the configuration is invalid"
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        super().__init__(first + more, "`cockpit profiles validate` lists every problem")
        self.problems = tuple(problems)


class LinkError(CockpitError):
    """A node cannot be reached. `retry` tells whether trying again by itself may help."""

    exit_code = ExitCode.UNAVAILABLE

    def __init__(self, message: str, hint: str = "", *, retry: bool = True) -> None:
        super().__init__(message, hint)
        self.retry = retry


class HostKeyError(LinkError):
    exit_code = ExitCode.PERMISSION

    def __init__(self, message: str, hint: str = "", *, changed: bool) -> None:
        super().__init__(message, hint, retry=False)
        self.changed = changed


class AuthenticationError(LinkError):
    exit_code = ExitCode.PERMISSION

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint, retry=False)


class BootstrapError(LinkError):
    def __init__(self, message: str, hint: str = "", *, retry: bool = False) -> None:
        super().__init__(message, hint, retry=retry)


class NodeError(CockpitError):
    """An agent answered FAIL. `code` is the protocol's word for it, `details` what it added."""

    exit_code = ExitCode.UNAVAILABLE

    def __init__(
        self, code: str, message: str, hint: str = "", details: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(message, hint)
        self.code = code
        self.details = dict(details or {})


class StartError(CockpitError):
    """A gang start was given up; nothing runs. `reasons`: node name -> error."""

    exit_code = ExitCode.UNAVAILABLE

    def __init__(self, message: str, reasons: Mapping[str, CockpitError], hint: str = "") -> None:
        super().__init__(message, hint)
        self.reasons = dict(reasons)
        codes = {error.exit_code for error in self.reasons.values()}
        if len(codes) == 1:
            self.exit_code = codes.pop()

    def may_run_on(self, nodes: str, name: str, job: str) -> None:
        """Say that `nodes` could not be told that the start was given up."""
        self.message = f"the start of job {name} was given up, but it may run on {nodes}"
        self.hint = f"`cockpit cancel {job}` ends it there once the node can be reached"
        self.exit_code = ExitCode.CONTACT_LOST


class ContactLost(CockpitError):
    exit_code = ExitCode.CONTACT_LOST


class PackagingError(CockpitError):
    exit_code = ExitCode.NO_INPUT


class JobNotFound(CockpitError):
    exit_code = ExitCode.USAGE
