"""What a launch is before anything runs: a request, and the plan it turns into.

Pure data, made from profiles; `--dry-run` prints it, the executor runs that very value.
"""

from __future__ import annotations

import msgspec

from cockpit.profiles.types import Cluster, Launcher, NodeSpec
from cockpit.protocol.records import SecretRef


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A job as asked for, profiles resolved. Exactly one of script, module, command is set."""

    name: str
    cluster: Cluster
    launcher: Launcher
    nodes: tuple[NodeSpec, ...]
    """Candidates in order; the first `max_nodes` that work take part."""
    min_nodes: int
    max_nodes: int
    nproc_per_node: int | str
    script: str | None = None
    module: str | None = None
    command: tuple[str, ...] | None = None
    args: tuple[str, ...] = ()
    working_dir: str
    """Absolute path on the controller."""
    env: dict[str, str] = {}
    secrets: dict[str, SecretRef] = {}
    max_restarts: int = 0

    @property
    def asked(self) -> tuple[str, ...]:
        """The command in the user's own words, for people."""
        if self.command is not None:
            return (*self.command, *self.args)
        if self.module is not None:
            return ("-m", self.module, *self.args)
        return (self.script or "", *self.args)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What every node of the job runs: one argv with macros, one environment, one working dir.

    `argv` elements may hold macros (`cockpit.protocol.macros`); all that the user gave is
    escaped. `env` holds no secret values; `secrets` says where they are found at launch.
    """

    argv: tuple[str, ...]
    env: dict[str, str]
    secrets: dict[str, SecretRef]
    kind: str
    grace: float
    max_restarts: int
