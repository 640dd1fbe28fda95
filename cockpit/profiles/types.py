"""What `cockpit.toml` says, as frozen typed records. Pure data: reading and checking are elsewhere.

Every field that a user may write has its docstring here; the JSON Schema and the reference page
are made from this module.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from cockpit.protocol.layout import DEFAULT_STATE_DIR
from cockpit.protocol.records import SecretRef


class NodeSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One machine of a cluster."""

    name: str
    """How the node is called on the screen; `host` unless given."""
    host: str
    """Where SSH goes: a name, an address, or an alias of the ssh_config."""
    addr: str = ""
    """Where training traffic goes: name or address that every other node can reach. Empty: the
    address on which the node's own sshd answered."""
    gpus: int | None = None
    """Number of GPUs, where it shall not be asked of the node."""
    port: int | None = None
    user: str | None = None
    python: str | None = None
    state_dir: str | None = None


class Cluster(msgspec.Struct, frozen=True, kw_only=True):
    """Nodes, and how to reach them."""

    name: str
    executor: Literal["local", "ssh"] = "ssh"
    nodes: tuple[NodeSpec, ...] = ()
    spares: tuple[NodeSpec, ...] = ()
    """Nodes that take part only when a restart asks for spares."""
    user: str | None = None
    port: int | None = None
    identity_file: tuple[str, ...] = ()
    """Private keys; the agent and ssh's default keys when empty."""
    proxy_jump: str | None = None
    """`[user@]host[:port]`, several separated by commas, as ssh's -J."""
    ssh_config: tuple[str, ...] | None = None
    """ssh_config files; None reads ~/.ssh/config, an empty list none."""
    known_hosts: tuple[str, ...] = ()
    """Files with host keys; ~/.ssh/known_hosts and the system's when empty."""
    connect_timeout: float = 15.0
    """Seconds."""
    python: str | None = None
    """Python of the job on the nodes; `python3` of the login shell's PATH when unset."""
    state_dir: str = DEFAULT_STATE_DIR
    sync: bool = True
    """Pack the working directory and unpack it on the nodes. False: the path exists on the nodes
    (shared file system), or this machine is the node."""
    env: dict[str, str] = {}
    secrets: dict[str, SecretRef] = {}


class Launcher(msgspec.Struct, frozen=True, kw_only=True):
    """How worker processes are started on a node."""

    name: str
    kind: Literal["torchrun", "command"] = "torchrun"
    max_restarts: int = 0
    """Restarts inside an attempt, decided on the nodes; counted by each node's own failures."""
    grace: float = 30.0
    """Seconds between SIGTERM and SIGKILL at a cancel and at a restart."""
    monitor_interval: float = 0.1
    rdzv_conf: dict[str, int] = {}
    """Overrides of torch's --rdzv-conf, see `docs/profiles.md`."""
    rdzv_port: int | None = None
    """Fixed port on the head node; probed when unset."""
    join_timeout: int = 600
    """Seconds that a node waits for the others to join a rendezvous."""
    env: dict[str, str] = {}
    log_limit: int = 0
    """Bytes that one log stream may keep on a node, 0 for no limit; the head goes first."""


class JobProfile(msgspec.Struct, frozen=True, kw_only=True):
    """What to run. Exactly one of script, module and command is set."""

    name: str
    cluster: str = "local"
    launcher: str = "torchrun"
    nodes: int | str = 1
    """A number, or "MIN:MAX" for an elastic job."""
    nproc_per_node: int | str = "auto"
    """A number, "auto" (one rank per GPU, or one), "gpu", or "cpu"."""
    script: str | None = None
    module: str | None = None
    command: tuple[str, ...] | None = None
    args: tuple[str, ...] = ()
    working_dir: str = "."
    env: dict[str, str] = {}
    secrets: dict[str, SecretRef] = {}
    max_restarts: int | None = None


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where an effective value comes from. `line` counts from 1; file "" is cockpit's default."""

    file: str = ""
    line: int = 0


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """All profiles in force. Always holds cluster `local` and launcher `torchrun`."""

    clusters: dict[str, Cluster]
    launchers: dict[str, Launcher]
    jobs: dict[str, JobProfile]
    sources: dict[str, Source] = {}
    """Dotted key ("clusters.lab.user") -> the file and line that set it."""
    files: tuple[str, ...] = ()
    """Files that were read, nearest first."""
