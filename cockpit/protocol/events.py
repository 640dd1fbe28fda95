"""The events of a node's two journals, and the rules of writing and reading them.

A journal is an append-only file of JSON lines with one writer. Every event carries `seq`
(0, 1, … per journal), `at` (wall clock, seconds), `mono` (CLOCK_MONOTONIC, seconds) and `kind`.
One event is one `write(2)`; a torn last line is dropped on reading and completed or skipped by
the next writer (it starts with a newline then; empty and unparsable lines are skipped).

`events.jsonl`, written by the supervisor:

| kind | fields |
|---|---|
| claimed | job, attempt, node_rank, host, supervisor: ProcessId, by, python |
| withdrawn | reason, by — terminal; nothing was started |
| go | command, by |
| started | process: ProcessId, argv, cwd |
| start_failed | message, hint — terminal; the launcher process could not be executed |
| launcher_exited | code or null, signal or null, oom: bool |
| cancel | command, by, reason, grace |
| swept | processes: [{pid, command}], signal — what a sweep had to end |
| adopted | supervisor: ProcessId, launcher_alive: bool |
| restart | command, by, reason, cost: bool — the launcher process was asked to restart the ranks; `cost`: it counts against max_restarts |
| checkpoint | command, by, reason, generation, number, step, ranks: [rank] — these ranks, which can, were asked for a checkpoint at the first of their steps from `step` on; `number` tells the requests of an attempt apart |
| checkpoint_saved | command, generation, ranks: [{rank, step}] — these ranks have saved it, at their own steps |
| checkpoint_void | command, generation or null, reason — it is not wanted any more, or was refused; `reason` "": there was none to take back |
| stalled | generation, ranks: [{rank, local_rank, pid, step or null, age, limit, first: bool}], action ("warn", "restart", "cancel"), message — once per stall; `first`: no beat at all yet |
| recovered | generation — ranks of a stall beat again |
| stacks | path, reason ("stall" or "asked"), generation, ranks: [{rank, frames: [{file, line, function}]}] — stacks were kept, see `layout.kept_stacks`; of each rank's main thread the innermost frames stand here, too, innermost first |
| xid | gpu (PCI address), number, message — the NVIDIA driver reported it in the kernel log |
| finished_flag | path — the job's finished flag was there when it ended |
| log_gap | path, start, end — bytes of a log that were dropped |
| note | level ("warn" or "error"), message, about ("no_space": the file system of the attempt is full; else absent) |
| ended | outcome, code, signal, left: [{pid, command}], swept: int, message, launcher_size (bytes of launcher.jsonl, which is final then; 0 where there is none) — terminal |

`outcome` says how the attempt ended on this node: succeeded, failed, cancelled, withdrawn,
start_failed, or lost (the node was rebooted under it). `left` names processes of the attempt that could not be ended.

`launcher.jsonl`, written by the instrumented launcher process:

| kind | fields |
|---|---|
| launcher | process: ProcessId, argv, python, torch, nvrx (version of nvidia-resiliency-ext, absent without it) |
| rendezvous_begin | |
| rendezvous | round, group_rank, group_world_size, took |
| rendezvous_failed | type, message, took |
| generation | generation, restart_count, max_restarts, group_rank, group_world_size, world_size, master, spawn, ranks: [{rank, local_rank, process: ProcessId, out, err}] |
| group | generation, state, remaining_restarts, failures: [FAILURE] |
| stopping / stopped | generation, and `took` for stopped |
| restarting | generation, by, reason, cost: bool — ranks are restarted because somebody asked, on this node or another |
| restart_refused | generation, id (of the request), by, reason — a restart that was asked for, and perhaps announced as `restarting`, will not be |
| ft_timeout | generation, local_rank, rank, pid, message — a rank monitor of ft_launcher gave up on its rank |
| launcher_exc | type, message |
| launcher_exit | code |
| hook_missing | name |
| hook_error | where, error |

`beats.jsonl`, written by the supervisor once a second while something changed and every 5 s at
least; thinned out as it grows (newer digests are denser), then the file is replaced. `seq` grows,
with gaps where digests were dropped:

| kind | fields |
|---|---|
| beats | generation, ranks: [RANKBEAT] |

RANKBEAT = {local_rank, rank, pid, stage, beats, step or null, age or null, limit or null, interval
or null, own or null, metrics: {name: number or "nan", "inf", "-inf"}, note, checkpoint: null or {step, pace: seconds or null}, ft: null or {beats, age or null, sections:
[name]}}: `stage` is "none" (nothing beats: not instrumented, or no Python), "starting" (no beat
yet), "training", "silent" (age beyond the limit) or "ended"; `age` seconds since the last beat at
`mono`; `interval` the median of its newest steps' seconds; `own` the median seconds of a step
that the rank did not wait for others, where that can be told; `note` why it is not instrumented.
`checkpoint` is there when the rank's code makes checkpoints on request: the newest `step` at which
it asked whether one is wanted, and the median seconds from one such step to the next.
Of `metrics`, the three words stand for what JSON has no numbers for. A job of kind "command" has no ranks; where figures
are searched for in its output, it is told as generation 0 with one rank, the node's.

A request to the launcher process is a file `requests/<id>.json`, {id, do: "restart" or "stop",
generation or null, by, reason, cost: bool, grace: seconds or null}, whole or absent. It is obeyed
once, on all nodes together, the same id on several nodes too; one for a generation that is over is
dropped, null stands for whichever runs. `grace` shortens the time between SIGTERM and SIGKILL.
"stop" ends the ranks of all nodes; the launcher process leaves with code 1 and `launcher_exc`
{type: "Stopped", message: reason}.

FAILURE = {rank, local_rank, pid, exit_code or null, signal or null, at, message, exception,
oom: bool, evidence, tail: [line] — the last lines of its stderr}: `at` is the wall time of the raise where the rank left it, else of the
detection; `exception` the type name or ""; `message` the last line, e.g. "RuntimeError: boom".
`state` is torch's WorkerState: HEALTHY, SUCCEEDED, FAILED, UNHEALTHY, …; `group` is written when
it changes to anything but HEALTHY. `generation` is the rendezvous round. `out`, `err` are
relative to the attempt's folder.
"""

from __future__ import annotations

from typing import Any

TERMINAL = ("ended",)
"""Kinds after which a supervisor writes nothing. Every claimed attempt ends with `ended`, also
after `withdrawn` and `start_failed`."""

Event = dict[str, Any]
