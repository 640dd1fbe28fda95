"""A job as asked for: profiles and what was typed, resolved into one record.

Made by `resolve`; turned into a plan by the launchers, shown by `--dry-run`, started by the
controller. Pure data.
"""

from __future__ import annotations

import msgspec

from cockpit.profiles.types import Cluster, Launcher, NodeSpec
from cockpit.protocol.secretref import SecretRef


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What shall run where. Exactly one of script, module and command is set.

    `env` holds no value of a secret, not even a typed one: it is named in `secrets`.
    """

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
    metrics: dict[str, str] = {}
    preflight: bool = True
    """False: start in spite of what the nodes say of themselves."""
    cfg: str | None = None
    """Text of the launcher's `cfg_path`."""

    @property
    def asked(self) -> tuple[str, ...]:
        """The command in the user's own words, for people."""
        if self.command is not None:
            return (*self.command, *self.args)
        if self.module is not None:
            return ("-m", self.module, *self.args)
        return (self.script or "", *self.args)
