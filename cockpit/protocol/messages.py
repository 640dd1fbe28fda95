"""Requests that a controller makes of an agent, and what the agent answers.

A request is a REQUEST frame with JSON `{"op": OP, …}`. It is answered by REPLY (one result, and
the request is over unless the table says that a stream follows) or FAIL. Paths are relative to
the node's `state_dir` and must stay inside it. What is marked `?` may be missing. DATA is sent
within the credit that the stream has: `credit` of a `follow`, INITIAL_CREDIT of `read` and
`exec`, and what CREDIT adds.

| op | arguments | answer |
|---|---|---|
| clock | | {wall, mono} |
| facts | python? (path or name) | {python, python_version, torch, gpus, cpus, disk_free, simulated, nvrx} — see Facts |
| jobs | | {jobs: [{id, job: JobRecord or null, damaged?, attempts: [{attempt, node_rank, plan: AttemptRecord or null, events: Event or null (the newest of events.jsonl), supervised?: bool, damaged?}]}], omitted?: int} — newest job first; `supervised`, whether its supervisor runs on this machine, is missing while that is still to claim it; `damaged` says what cannot be read; `omitted` counts the oldest jobs, where all would be too long |
| watch_jobs | interval? (s) | REPLY {}, then EVENT {jobs: […as above], omitted?} at once and whenever it changed, until CLOSE |
| follow | path, offset, credit, index? (bool) | REPLY {offset, size, inode}; then INDEX/DATA while credit lasts, for ever, until CLOSE. `offset` < 0 counts back from the end. A missing file is waited for: REPLY comes with size 0 and inode 0. What the size limit of a log has dropped from its head is stepped over: the offset of DATA jumps. A file that shrank or was replaced: END {replaced?: true} |
| read | path, offset, length | REPLY {size}, one or more DATA, END {}; what was dropped reads as zeros |
| list | path | {entries: [{name, size, mtime, directory: bool}]} — missing folder: empty |
| has_code | digest | {present: bool} |
| get_code | digest | REPLY {}, DATA … END {}: the archive that was put, made again from its files; needs CREDIT beyond INITIAL_CREDIT; FAIL "not_found" |
| put_code | digest, size | REPLY {present: bool}; if not present the controller sends DATA (no offset) … END, the node checks sha256, unpacks, and sends END {files, bytes} |
| free_port | addr | {port} — free on that address now |
| preflight | python?, need_torch? (bool), need_nvrx? (bool), addr? (of training traffic), alone? (bool, no other node takes part), gpus? (how many there should be), env? (of the job), full? (bool, also what takes long: may import torch) | {checks: [{check, level: "ok" or "warn" or "crit" or "unknown", message, hint}], versions: {python, torch, cuda, nccl, nvrx, driver, gpu, gpus, infiniband}} — `versions` are texts, "" when there is none; `gpus` a number; each null when unknown |
| listen | addr, peers, port? (0: any) | {port, nonce} — listens there until `peers` nodes have said the nonce, `unlisten`, or 60 s |
| unlisten | port | {closed: bool} — whether it was open |
| reach | addr, port, nonce, limit? (s) | {reached: bool, seconds, error, hint} — whether the node of that `listen` answered there |
| prepare | job: JobRecord, record: AttemptRecord, secrets?: {name: value} | {claimed: true, supervisor: {pid, start_ticks, boot_id}}; FAIL "already_claimed" (details: by, at), "still_running", "start" … |
| command | job, attempt, node_rank, id, do ("go", "withdraw", "cancel", "restart", "checkpoint"), by, reason?, grace? (s), cost? (bool, of "restart"), step? (of "checkpoint": from which on; absent: none is wanted any more) | {accepted: bool, ended?: Event} — true: durable, its effect is an event in the journal; false: the attempt is over, and `ended` is the event that says how |
| scan | job, attempt?, node_rank? | {processes: [{pid, ppid, state, command, marker, start_ticks}]} — all that carry the marker, and what they started |
| stacks | job, attempt, node_rank, within? (s) | {taken_at, generation or null, ranks: [STACKS]} — of every local rank, see below |
| telemetry | interval? (s) | REPLY {}, then EVENT {at, mono, user, simulated, host, gpus, gpu_error, gpu_stalled, driver, cuda} each interval, until CLOSE; see below |
| exec | argv, env?, cwd?, timeout? (s) | REPLY {pid}, DATA with offset = 0 for stdout and 1 for stderr, END {code, signal, timed_out: bool} |
| clean | job or digest | {freed: bytes} — FAIL "still_running" if it is, "not_found" |
"""

from __future__ import annotations

import dataclasses
from typing import Any

# They live with the frames, which an agent can import without this module's dataclasses.
from cockpit.protocol.frames import INITIAL_CREDIT as INITIAL_CREDIT
from cockpit.protocol.frames import PROTOCOL_VERSION as PROTOCOL_VERSION

HANDSHAKE_TIMEOUT = 30.0
"""Seconds from the start of the bootstrap to HELLO."""

GO_TIMEOUT = 300.0
"""Seconds that a claimed attempt waits for `go` before it withdraws by itself. More than a
controller waits for the slowest node to be prepared, or the fastest would be gone by then."""


@dataclasses.dataclass(frozen=True)
class Hello:
    """First frame of an agent: who answers. `wall` and `mono` are its clocks, in seconds."""

    protocol: int
    version: str
    host: str
    user: str
    uid: int
    boot_id: str
    python: str
    executable: str
    state_dir: str
    runtime: str
    pid: int
    address: str
    """The server's address as SSH_CONNECTION has it, "" when unknown."""
    wall: float
    mono: float


@dataclasses.dataclass(frozen=True)
class Facts:
    """What a launch needs to know of a node. `python` is absolute, "" when not found.

    `gpus` counts NVML devices, `cpus` those this process may use, `disk_free` is bytes below
    `state_dir`, `torch` the version of torch that `python` imports, "" when there is none; `nvrx`
    that of nvidia-resiliency-ext.
    """

    python: str
    python_version: str
    torch: str
    gpus: int
    cpus: int
    disk_free: int
    simulated: bool
    nvrx: str = ""


@dataclasses.dataclass(frozen=True)
class Failure:
    """Why a request could not be done. `code` is for programs, `message` and `hint` for people."""

    code: str
    message: str
    hint: str = ""
    details: dict[str, Any] = dataclasses.field(default_factory=dict)


# STACKS = {rank (null for a process that has none), local_rank, pid, how ("signal", "py-spy" or ""),
#  error ("" or why there is none), threads: [{name, main: bool, frames: [{file, line,
#  function}]}]}: innermost frame first, the main thread first.
#
# A telemetry sample (EVENT of `telemetry`). A figure that cannot be read is null, a text "":
# {"at": wall s, "mono": s, "user" (whose agent this is), "simulated": bool,
#  "host": {"cpus", "load1", "cpu_percent", "memory_used", "memory_total", "swap_used",
#           "swap_total", "disk_free", "disk_total" (of the state folder), "disk_read",
#           "disk_written", "network_in", "network_out" (bytes/s since the last sample; physical
#           devices, InfiniBand among them), "temperature" (°C, the highest), "blocked" (processes
#           in state D), "uptime"},
#  "gpus": [{"index", "name", "uuid", "state" ("ok", "lost", "error"), "error" (why not "ok"),
#            "utilization", "memory_utilization" (%), "memory_used", "memory_total" (bytes),
#            "power", "power_limit" (W), "temperature", "memory_temperature" (°C), "sm_clock",
#            "sm_clock_max" (MHz), "throttle": [word] (what holds the clocks down: "power_cap",
#            "hw_slowdown", "sync_boost", "sw_thermal", "hw_thermal", "hw_power_brake",
#            "board_limit", "reliability"), "ecc_uncorrected" (since the driver was loaded),
#            "ecc_uncorrected_total", "remapped_rows": {"correctable", "uncorrectable",
#            "pending": bool, "failed": bool}, "recovery_action" ("none", "gpu_reset", …),
#            "nvlink": {"active", "total" (links), "tx", "rx" (bytes/s), "errors"},
#            "pcie": {"gen", "width"}, "slow_age" (s since what comes after `throttle`, and the
#            limits and processes, were read; null unless that is too long ago),
#            "processes": [{"pid", "user", "memory", "command" (60 characters), "job" (the id of
#            the job whose marker it carries)}], "xids": [{"number", "at"}] (of the last hour),
#            "mig": [{"index", "name", "uuid", "memory_used", "memory_total"}]}],
#  "gpu_error": "" or why there are no GPU figures, "gpu_stalled": s for which the driver has not
#  answered, null while it does, "driver", "cuda": versions}
