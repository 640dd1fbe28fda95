"""The operation `clean`: give the disk space of a finished job, or of unused code, back.

Runs in a thread. Refuses while anything of it runs. What goes is renamed first, so nobody finds
half of it.
"""

from __future__ import annotations

import os
from typing import Any

from cockpit.node import durable, processes
from cockpit.node.arguments import Arguments
from cockpit.node.failures import RequestFailedError
from cockpit.node.statedir import Node, remove_tree, temporary
from cockpit.node.supervise import claims
from cockpit.protocol import layout


def clean(node: Node, arguments: Arguments) -> dict[str, Any]:
    """{freed: bytes}, for `job` or for `digest`. FAIL "still_running" or "not_found"."""
    if arguments.values.get("job") is not None:
        job = arguments.job()
        what, path = f"job {job}", f"{node.state_dir}/{layout.job_dir(job)}"
        _require_idle(node, job, what)
    else:
        digest = arguments.digest()
        what, path = f"code {digest[:12]}", f"{node.state_dir}/{layout.code_dir(digest)}"
        for job in _jobs_of(node, digest):
            _require_idle(node, job, what)
    doomed = temporary(node)
    try:
        os.rename(path, doomed)
    except FileNotFoundError:
        raise RequestFailedError("not_found", f"{what} is not on {node.host}") from None
    return {"freed": remove_tree(doomed)}


def _jobs_of(node: Node, digest: str) -> list[str]:
    """Jobs on this node that run that code."""
    jobs = {place.job for place in claims.places(node.state_dir)}
    found = []
    for job in sorted(jobs):
        record = durable.read_json(f"{node.state_dir}/{layout.job_file(job)}")
        code = record.get("code") if isinstance(record, dict) else None
        if isinstance(code, dict) and code.get("digest") == digest:
            found.append(job)
    return found


def _require_idle(node: Node, job: str, what: str) -> None:
    """Raise "still_running" while an attempt of `job` is not over or a process of it lives."""
    running = processes.scan(job)
    if not running and not any(map(_is_going, claims.places(node.state_dir, job))):
        return
    pids = ", ".join(str(process["pid"]) for process in running)
    raise RequestFailedError(
        "still_running",
        f"{what} is still in use by job {job} on {node.host}" + (f" (pid {pids})" if pids else ""),
        f"`cockpit cancel {job}` ends it",
        {"processes": running},
    )


def _is_going(place: claims.Place) -> bool:
    owner = claims.read_owner(place)
    if owner is None or claims.ended(place) is not None:
        return False
    # Of an attempt on another machine that shares this folder nothing else can be seen from here.
    return not owner.is_here or claims.is_supervised(place)
