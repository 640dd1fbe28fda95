"""What the launch form needs of the world. `cockpit.tui.live` gives it; nothing here draws."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from cockpit.errors import CockpitError
from cockpit.launchers.plan import Request
from cockpit.model.doctor import Report
from cockpit.model.types import Job
from cockpit.profiles.types import Config

if TYPE_CHECKING:
    from cockpit.packaging import Package

Say = Callable[[str], None]


class Draft(NamedTuple):
    """What stands in the form, as typed; "" is: not given, the profile's or the default value.

    `args` is a command line as a shell would split it, `env` is K=V lines (a lone K takes ours),
    `on` and `without` are names and ranges of nodes.
    """

    job: str = ""
    cluster: str = ""
    launcher: str = ""
    nodes: str = ""
    on: str = ""
    """The only nodes that may take part."""
    without: str = ""
    """Nodes that shall not."""
    spares: bool = False
    """Whether spare nodes of the cluster may take the place of nodes that do not take part."""
    nproc_per_node: str = ""
    kind: str = ""
    """script | module | command; "" is what the job profile runs, or else a script."""
    target: str = ""
    """The script, module, or command; "" is what the job profile runs."""
    args: str = ""
    env: str = ""
    name: str = ""
    working_dir: str = ""
    max_restarts: str = ""


class Trouble(NamedTuple):
    """What is wrong with a field, or with the whole."""

    message: str
    hint: str = ""


class Checked(NamedTuple):
    """A draft that was looked at. `request` is None while something is wrong with it."""

    problems: Mapping[str, Trouble]
    """By the field of Draft; "" is the whole."""
    request: Request | None = None
    given: Mapping[str, str] = {}
    """Values of secrets that were typed."""
    command: tuple[str, ...] = ()
    """The `cockpit run …` that asks for the same."""


class Preview(NamedTuple):
    """The real plan in words: `text` is what `cockpit run --dry-run` prints."""

    request: Request
    text: str
    given: Mapping[str, str] = {}
    command: tuple[str, ...] = ()
    digest: str = ""
    """Of the packed working directory; "" when the nodes see it by themselves."""
    size: int = 0
    """Bytes of it."""
    files: int = 0
    warnings: tuple[str, ...] = ()
    """What was worth a word while it was packed."""
    package: Package | None = None
    """What is sent: the very package whose digest was shown."""


class FolderChanged(CockpitError):
    """What the plan shows cannot be sent any more; `LaunchPad.renew` takes what is there now."""


class LaunchPad(Protocol):
    @property
    def config(self) -> Config: ...
    async def check(self, draft: Draft) -> Checked:
        """What the draft asks for, with the free nodes first. Looks at the disk."""

    async def preview(self, checked: Checked, say: Say) -> Preview:
        """Plan it and pack the code; starts nothing. Raises CockpitError."""

    async def preflight(self, request: Request) -> Report:
        """What speaks against a start on the first `max_nodes` nodes now. Raises CockpitError."""

    async def launch(
        self, preview: Preview, say: Say, give_up: asyncio.Event, *, in_spite: bool
    ) -> str:
        """Start it; the job's id once every node runs it.

        Once `give_up` is set, what has begun is ended and an error says what became of it.
        `in_spite` of what preflight found. Raises StartError, FolderChanged, CockpitError.
        """

    async def renew(self, preview: Preview, say: Say) -> Preview:
        """The same with the folder as it is now. Raises CockpitError."""

    async def save(self, draft: Draft, name: str) -> Path:
        """Write the draft as a job profile and bring it into force; the file. Raises ConfigError,
        UsageError."""

    async def draft_of(self, job: Job) -> Draft:
        """What to type to have this job again, as far as its record tells. Looks at the disk."""
