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
| log_gap | path, start, end — bytes of a log that were dropped |
| note | level ("warn" or "error"), message |
| ended | outcome, code, signal, left: [{pid, command}], swept: int, message, launcher_size (bytes of launcher.jsonl, which is final then; 0 where there is none) — terminal |

`outcome` says how the attempt ended on this node: succeeded, failed, cancelled, withdrawn,
start_failed, or lost (the node was rebooted under it). `left` names processes of the attempt that could not be ended.

`launcher.jsonl`, written by the instrumented launcher process:

| kind | fields |
|---|---|
| launcher | process: ProcessId, argv, python, torch |
| rendezvous_begin | |
| rendezvous | round, group_rank, group_world_size, took |
| rendezvous_failed | type, message, took |
| generation | generation, restart_count, max_restarts, group_rank, group_world_size, world_size, master, spawn, ranks: [{rank, local_rank, process: ProcessId, out, err}] |
| group | generation, state, remaining_restarts, failures: [FAILURE] |
| stopping / stopped | generation, and `took` for stopped |
| launcher_exc | type, message |
| launcher_exit | code |
| hook_missing | name |
| hook_error | where, error |

FAILURE = {rank, local_rank, pid, exit_code or null, signal or null, at, message, exception,
oom: bool, evidence}: `at` is the wall time of the raise where the rank left it, else of the
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
