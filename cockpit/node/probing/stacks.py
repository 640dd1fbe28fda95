"""The Python stacks of all ranks of an attempt on this node, at this moment.

Called by the agent in a worker thread (the op `stacks`) and by the supervisor at a stall. Each
rank is asked at once by the signal at which its worker has faulthandler write all threads to a
file: that works while the GIL is held, in any C code, and needs no privilege. A rank that has no
handler, or does not answer, is read from outside by py-spy where the node has it. Nothing here
stops or ends a process, and a rank that misbehaves costs only itself.

torch's own worker server (`torch._C._distributed_c10d._WorkerServer`) is not used: its
`dump_traceback` gives the same stacks, and does not answer while the GIL is held, which is when
they are wanted most (measured with torch 2.13).
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

from cockpit.node import journal, processes
from cockpit.node.probing.stacklook import Look, Subject, is_python
from cockpit.protocol import layout, records
from cockpit.protocol.records import ProcessId

TIMEOUT = 2.0
"""Seconds that all ranks together have to answer."""
MAX_RANKS = 256
MAX_ANSWER = 8 * 1024 * 1024
"""Bytes of JSON; a rank with more than its share of them is cut down."""
_PAUSE = 0.01


def take(attempt_dir: str, timeout: float = TIMEOUT) -> dict[str, Any]:
    """The answer of the op `stacks` for the attempt in the absolute path `attempt_dir`.

    Takes `timeout` seconds at most and a moment. `ranks` are those of the newest generation; []
    where there is none yet. For a job without instrumented launcher process they are its Python
    processes, with the RANK that their environment names, or None. Raises OSError when the
    attempt's folder cannot be read.
    """
    taken_at = time.time()
    generation, subjects = _subjects(attempt_dir)
    looks = [Look(subject, timeout) for subject in subjects]
    deadline = time.monotonic() + timeout
    try:
        _each(looks, Look.begin)
        while not _each(looks, Look.poll) and time.monotonic() < deadline:
            time.sleep(_PAUSE)
        ranks = [look.answer() for look in looks]
    finally:
        for look in looks:
            look.close()
    return {"taken_at": taken_at, "generation": generation, "ranks": _fitting(ranks)}


def _each(looks: list[Look], step: Any) -> bool:
    """Do one step of every look; True when all are over."""
    over = True
    for look in looks:
        try:
            over = bool(step(look)) and over
        except OSError as error:
            look.fail(error)
    return over


def _subjects(attempt_dir: str) -> tuple[int | None, list[Subject]]:
    os.stat(attempt_dir)
    marker = _marker(attempt_dir)
    path = os.path.join(attempt_dir, layout.LAUNCHER_EVENTS)
    if not os.path.exists(path):
        return None, _marked(marker)
    event = next((e for e in reversed(journal.read(path)) if e["kind"] == "generation"), None)
    if event is None:
        return None, []
    generation = int(event["generation"])
    subjects = []
    for rank in event["ranks"][:MAX_RANKS]:
        local_rank = int(rank["local_rank"])
        file = os.path.join(attempt_dir, layout.rank_stacks(generation, local_rank))
        process = records.process_id(rank["process"])
        subjects.append(Subject(int(rank["rank"]), local_rank, process, marker, file))
    return generation, subjects


def _marker(attempt_dir: str) -> str:
    parts = os.path.normpath(attempt_dir).split("/")
    return layout.marker(parts[-5], int(parts[-3]), int(parts[-1]))


def _marked(marker: str) -> list[Subject]:
    """The Python processes of an attempt that nobody instrumented: ranks, else all of them.

    What such a process has started itself (workers of a DataLoader) is left out.
    """
    pythons = [p for p in processes.scan(marker) if is_python(p["pid"])]
    ranks = {p["pid"]: _rank(p["pid"]) for p in pythons}
    if any(rank is not None for rank in ranks.values()):
        pythons = [p for p in pythons if ranks[p["pid"]] is not None]
    pids = {p["pid"] for p in pythons}
    tops = [p for p in pythons if p["ppid"] not in pids]
    return [
        Subject(ranks[p["pid"]], number, _identity(p), marker)
        for number, p in enumerate(tops[:MAX_RANKS])
    ]


def _identity(process: processes.Process) -> ProcessId:
    return ProcessId(process["pid"], process["start_ticks"], processes.boot_id())


def _rank(pid: int) -> int | None:
    """RANK in the environment that the process was started with."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            items = file.read().split(b"\0")
    except OSError:
        return None
    value = next((item[5:] for item in items if item.startswith(b"RANK=")), b"")
    return int(value) if value.isdigit() else None


def _fitting(ranks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """`ranks`, each cut to its share of MAX_ANSWER: first other threads go, then everything."""
    share = MAX_ANSWER // max(len(ranks), 1)
    for rank in ranks:
        if len(json.dumps(rank)) > share:
            rank["threads"] = rank["threads"][:1]
        if len(json.dumps(rank)) > share:
            rank.update(threads=[], how="", error="its stacks are too large to be sent")
    return ranks
