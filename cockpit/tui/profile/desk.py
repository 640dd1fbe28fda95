"""What the Profiles view needs of the world. `cockpit.tui.live` gives it; nothing here draws."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from cockpit.errors import Problem
from cockpit.model.doctor import Report
from cockpit.profiles.types import Config
from cockpit.profiles.written import Written

Key = tuple[str, ...]
"""The parts of a key, from the top of a file: ("clusters", "lab", "user")."""


class FoundKey(NamedTuple):
    """A host key that a node, or a jump host on the way to it, showed. `state`: known | new |
    changed | unreachable; `known`: the keys that are remembered; `file`: where it would go."""

    node: str
    address: str
    kind: str
    fingerprint: str
    state: str
    error: str = ""
    known: tuple[str, ...] = ()
    file: str = ""


class FileChoice(NamedTuple):
    """A file that can be written. `what`: "project", "named" or "yours"."""

    path: Path
    what: str
    exists: bool


class ProfileDesk(Protocol):
    """Edits go to files, never to a config in memory; what was written is then in force.

    `config`, `written`, `problems`, `files` and `here` are as of the last `reload`.
    """

    @property
    def config(self) -> Config: ...
    @property
    def written(self) -> Sequence[Written]:
        """What each file in force says by itself, nearest first."""

    @property
    def problems(self) -> Sequence[Problem]:
        """What is wrong with the files."""

    @property
    def files(self) -> Sequence[FileChoice]:
        """Where something can be written, nearest first."""

    @property
    def here(self) -> str:
        """The folder that the cockpit was started in, absolute; paths are shown from there."""

    @property
    def target(self) -> Path:
        """The file that a new profile is written to."""

    async def reload(self) -> Sequence[Problem]:
        """Read the files again. With errors the old profiles stay in force. Clusters and rules
        that changed are taken over; links to nodes that stay as they were live on."""

    async def changed_on_disk(self) -> bool:
        """Whether a file came, went or was written since the last `reload`."""

    async def change(
        self, path: Path, values: Mapping[Key, object], removed: Collection[Key] = ()
    ) -> None:
        """Set and remove keys of a file, all or nothing, and reload. Raises ConfigError,
        UsageError."""

    async def test(self, cluster: str) -> Report:
        """Connect to every node of a cluster and look at it. Raises CockpitError."""

    async def host_keys(self, cluster: str) -> Sequence[FoundKey]:
        """The host keys that the nodes show now. Raises CockpitError."""

    async def trust(self, cluster: str, keys: Sequence[FoundKey]) -> Sequence[str]:
        """Remember those of these keys that are new, and try the nodes again; what was written
        where, in words. Raises CockpitError."""
