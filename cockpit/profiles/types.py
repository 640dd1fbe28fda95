"""What `cockpit.toml` says, as frozen typed records. Pure data: reading and checking are elsewhere.

Every field that a user may write has its docstring here, and its limits in its type; the check of
the files, the JSON Schema and the reference page follow this module.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from cockpit.errors import Problem
from cockpit.protocol.layout import DEFAULT_STATE_DIR
from cockpit.protocol.secretref import SecretRef

# "expected" is how an error names what belongs there: "must be text on one line, not …".
Text = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        pattern=r"^[^\u0000-\u001f\u007f-\u009f]+$",
        extra={"expected": "text on one line"},
    ),
]
Argument = Annotated[str, msgspec.Meta(pattern=r"^[^\u0000]*$", extra={"expected": "a string"})]
Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Count = Annotated[int, msgspec.Meta(ge=0)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]
PositiveSeconds = Annotated[float, msgspec.Meta(gt=0)]
NodeCount = Annotated[
    Annotated[int, msgspec.Meta(ge=1)]
    | Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,9}(:[0-9]{1,9})?$")],
    msgspec.Meta(extra={"expected": 'a number of nodes (1 or more) or "MIN:MAX"'}),
]
ProcessCount = Annotated[
    Annotated[int, msgspec.Meta(ge=1)] | Annotated[str, msgspec.Meta(pattern="^(auto|gpu|cpu)$")],
    msgspec.Meta(extra={"expected": 'a number of ranks (1 or more), "auto", "gpu" or "cpu"'}),
]


class NodeSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One machine of a cluster."""

    name: Text
    """How the node is called on the screen; `host` unless given."""
    host: Text
    """Where SSH goes: a name, an address, or an alias of the ssh_config. May hold ranges,
    `gpu[01-04].lab`, and then stands for several nodes."""
    addr: str = ""
    """Where training traffic goes: name or address that every other node can reach. Empty: the
    address on which the node's own sshd answered."""
    gpus: Count | None = None
    """Number of GPUs, where it shall not be asked of the node."""
    port: Port | None = None
    """Port of this node's sshd; the cluster's `port` when unset."""
    user: Text | None = None
    """Login name on this node; the cluster's `user` when unset."""
    python: Text | None = None
    """Python of the job on this node; the cluster's `python` when unset."""
    state_dir: Text | None = None
    """Where cockpit keeps jobs on this node; the cluster's `state_dir` when unset."""


class Cluster(msgspec.Struct, frozen=True, kw_only=True):
    """Nodes, and how to reach them."""

    name: str
    """The last word of the header: `[clusters.lab]` is called lab."""
    executor: Literal["local", "ssh"] = "ssh"
    """Where jobs live: "ssh" on machines that SSH reaches, "local" on this machine."""
    nodes: tuple[NodeSpec, ...] = ()
    """The machines in order: hosts, ranges such as "gpu[01-04].lab", or tables with `host`."""
    spares: tuple[NodeSpec, ...] = ()
    """Nodes held in reserve: shown and watched; a job starts or restarts on them only when it is
    asked to, with `--spares` or, at a start, by their names."""
    user: Text | None = None
    """Login name; what the ssh_config says, or your own, when unset."""
    port: Port | None = None
    """Port of sshd; what the ssh_config says, or 22, when unset."""
    identity_file: tuple[Text, ...] = ()
    """Private keys; the agent and ssh's default keys when empty."""
    proxy_jump: Text | None = None
    """`[user@]host[:port]`, several separated by commas, as ssh's -J."""
    ssh_config: tuple[Text, ...] | None = None
    """ssh_config files; ~/.ssh/config when unset, none at all with an empty list."""
    known_hosts: tuple[Text, ...] = ()
    """Files with host keys; ~/.ssh/known_hosts and the system's when empty."""
    connect_timeout: PositiveSeconds = 15.0
    """Seconds that a connection may take to open."""
    python: Text | None = None
    """Python of the job on the nodes; `python3` of the login shell's PATH when unset."""
    state_dir: Text = DEFAULT_STATE_DIR
    """Where cockpit keeps jobs on the nodes: absolute, or from the home with `~/`."""
    sync: bool = True
    """Pack the working directory and unpack it on the nodes. False: the path exists on the nodes
    (shared file system), or this machine is the node."""
    env: dict[str, Argument] = {}
    """Environment of every job on these nodes."""
    secrets: dict[str, SecretRef] = {}
    """Environment whose values are fetched at launch: `NAME = { env = … }`, `cmd` or `file`."""
    read_only: bool = False
    """The full-screen cockpit changes nothing on these nodes; commands still do."""


class Launcher(msgspec.Struct, frozen=True, kw_only=True):
    """How worker processes are started on a node."""

    name: str
    """The last word of the header: `[launchers.ddp]` is called ddp."""
    kind: Literal["torchrun", "ft", "command"] = "torchrun"
    """With "torchrun", ranks under torch.distributed.run; with "ft", under ft_launcher of
    nvidia-resiliency-ext; with "command", the command itself, once per node."""
    max_restarts: Count = 0
    """Restarts inside an attempt, decided on the nodes; counted by each node's own failures."""
    grace: Seconds = 30.0
    """Seconds between SIGTERM and SIGKILL at a cancel and at a restart."""
    monitor_interval: PositiveSeconds = 0.1
    """Seconds between two looks of the launcher process at its ranks."""
    rdzv_conf: dict[str, Count] = {}
    """Overrides of torch's --rdzv-conf, in seconds or counts, see `docs/profiles.md`."""
    rdzv_port: Port | None = None
    """Fixed port on the head node; probed when unset."""
    join_timeout: Annotated[int, msgspec.Meta(ge=1)] = 600
    """Seconds that a node waits for the others to join a rendezvous."""
    env: dict[str, Argument] = {}
    """Environment of every job that this launcher starts."""
    log_limit: Count = 0
    """Bytes that one log stream may keep on a node, 0 for no limit; the head goes first."""
    instrument: bool = True
    """Heartbeats, steps and stacks of Python ranks. False: no slot, no hook into torch and no
    signal handler; nothing beats, and no stall is noticed."""
    initial_rank_heartbeat_timeout: PositiveSeconds | None = None
    """Seconds until the first beat of a rank (imports, compilation, loading) after which it counts
    as stalled; no limit when unset."""
    rank_heartbeat_timeout: PositiveSeconds | None = None
    """Seconds between two beats after which a rank counts as stalled; ten times the job's own
    median step, but at least 120, when unset."""
    workload_check_interval: PositiveSeconds = 1.0
    """Seconds between two looks at the beats, on each node."""
    on_stall: Literal["warn", "restart", "cancel"] = "warn"
    """What a node does at a stall, also while nobody watches: say so, restart the ranks of all
    nodes, or end the job as failed. Stacks are taken first in any case."""
    count_stall_restarts: bool = False
    """Whether restarts after a stall count against `max_restarts`."""
    max_stall_restarts: Count = 10
    """Restarts after a stall in one attempt; at the next stall the job ends as failed."""
    rdzv_backend: Literal["c10d", "static"] = "c10d"
    """How nodes find each other: "static" knows neither changes of membership nor restarts that
    several nodes agree on."""
    rdzv_id: Text | None = None
    """Name of the rendezvous, to which the attempt's number is added; the job's id when unset."""
    cfg_path: Text | None = None
    """Only "ft": a YAML file with a section `fault_tolerance`, of this machine, which is sent
    along; what this profile says beats it."""
    finished_flag_file: Text | None = None
    """Only "ft": a path on the nodes that training creates when it has really finished
    (FAULT_TOL_FINISHED_FLAG_FILE); in the attempt's folder when unset."""
    job_results_file: Text | None = None
    """Only "ft": a path on the nodes to which each attempt adds the line `JOB ATTEMPT S` or `… F`
    (JOB_RESULTS_FILE); none when unset."""
    rank_termination_signal: Annotated[
        str,
        msgspec.Meta(pattern="^SIG[A-Z0-9]+$", extra={"expected": 'a signal such as "SIGKILL"'}),
    ] = "SIGKILL"
    """Only "ft": the signal by which rank monitors end a rank that has stalled."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    """Only "ft": what ft_launcher logs."""
    rank_section_timeouts: dict[str, PositiveSeconds] = {}
    """Only "ft": seconds that a section of the training code may stay open, by its name."""
    rank_out_of_section_timeout: PositiveSeconds | None = None
    """Only "ft": seconds that a rank may spend outside of all sections."""


class JobProfile(msgspec.Struct, frozen=True, kw_only=True):
    """What to run. Exactly one of script, module and command is set."""

    name: str
    """The last word of the header: `[jobs.llama]` is called llama."""
    cluster: Text = "local"
    """Name of the cluster."""
    launcher: Text = "torchrun"
    """Name of the launcher."""
    nodes: NodeCount = 1
    """A number, or "MIN:MAX" for an elastic job."""
    nproc_per_node: ProcessCount = "auto"
    """Ranks per node: a number, "auto" (one rank per GPU, or one), "gpu", or "cpu"."""
    script: Text | None = None
    """Python file, relative to the working directory."""
    module: Text | None = None
    """Python module, as behind `python -m`."""
    command: Annotated[tuple[Argument, ...], msgspec.Meta(min_length=1)] | None = None
    """Program and its arguments, one string each; no shell reads them."""
    args: tuple[Argument, ...] = ()
    """Arguments of the script, module or command, one string each."""
    working_dir: Text = "."
    """Folder that is packed and that the job runs in, relative to the folder of the file that says
    so (in the user's own file: to the current folder). Absolute once loaded."""
    env: dict[str, Argument] = {}
    """Environment of the job."""
    secrets: dict[str, SecretRef] = {}
    """Environment whose values are fetched at launch: `NAME = { env = … }`, `cmd` or `file`."""
    max_restarts: Count | None = None
    """Restarts inside an attempt; the launcher's `max_restarts` when unset."""
    metrics: dict[str, Text] = {}
    """Figures found in the ranks' log lines: name = a regular expression whose first group is the
    number."""


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """A pattern that names the cause of a failure: `[rules.NAME]`."""

    name: str
    """The last word of the header: `[rules.s3]` is called s3."""
    pattern: Text
    """Regular expression, searched in what a failed rank said: its exception and the last lines of
    its stderr."""
    cause: Text
    """What it means, in a few words."""
    hint: str = ""
    """What to do about it."""


class Screen(msgspec.Struct, frozen=True, kw_only=True):
    """The full-screen cockpit: `[screen]`, in force at its next start. What it remembers by itself
    is in a state file."""

    theme: Text | None = None
    """Theme to start with; the one used last, or one that suits the terminal, when unset."""
    read_only: bool = False
    """Nothing on nodes and in files can be changed from the screen."""
    ascii: bool | None = None
    """Draw with ASCII characters only; what the locale says when unset."""
    clusters: tuple[Text, ...] = ()
    """Clusters that are shown at the start; those shown last, else all, when unset."""


class Notify(msgspec.Struct, frozen=True, kw_only=True):
    """How the cockpit asks for attention: `[notify]`, in force at its next start."""

    on: tuple[Literal["end", "failure", "stall", "restart", "node"], ...] = (
        "end",
        "failure",
        "stall",
    )
    """What for: a job's end, its failure, a stall, a restart, a node that was lost."""
    bell: bool = True
    """Ring the terminal's bell."""
    title: bool = True
    """Say it in the terminal's title."""
    desktop: bool = True
    """Send the escapes for desktop notifications (OSC 9 and 777) to the terminal."""
    command: Annotated[tuple[Argument, ...], msgspec.Meta(min_length=1)] | None = None
    """Program and its arguments, run on this machine; `{title}`, `{text}`, `{kind}`, `{job}` and
    `{node}` in an argument are replaced."""


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where an effective value comes from. `line` counts from 1; file "" is cockpit's default."""

    file: str = ""
    line: int = 0


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """All profiles in force. Always holds cluster `local` and launcher `torchrun`."""

    clusters: dict[str, Cluster]
    launchers: dict[str, Launcher]
    jobs: dict[str, JobProfile]
    rules: dict[str, Rule] = {}
    """Tried in order, before the built-in ones."""
    screen: Screen = Screen()
    notify: Notify = Notify()
    keys: dict[str, tuple[str, ...]] = {}
    """Action id -> its keys, instead of those that it has; none at all with an empty list."""
    sources: dict[str, Source] = {}
    """Dotted key ("clusters.lab.user") -> the file and line that set it. Every field of every
    profile has its entry, and so has every variable of `env` and `secrets`."""
    files: tuple[str, ...] = ()
    """Files that were read, nearest first."""
    warnings: tuple[Problem, ...] = ()
    """What is worth a second look, but stops nothing."""
