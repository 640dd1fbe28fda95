"""`cockpit ps` as plain text, and what it shares with `cockpit status`. Pure functions."""

from __future__ import annotations

import time
from collections.abc import Sequence

from cockpit.cli.figures import rate_text
from cockpit.cli.tables import duration_text, table
from cockpit.model.figures import step_time_of
from cockpit.model.types import Job

_HEADER = ("ID", "NAME", "STATE", "NODES", "RANKS", "STEP", "RATE", "RUNTIME", "RST", "CLUSTER",
           "LAUNCHER", "STARTED BY")  # fmt: skip

NONE = "--"
"""Stands for a number of ranks where there are none, or none yet."""


def runtime(job: Job, now: float) -> float | None:
    """Seconds since it started, or that it took; None before."""
    if job.started_at is None:
        return None
    return (job.ended_at or now) - job.started_at


def step_text(job: Job) -> str:
    """ "1200", or "1198-1200" while ranks are apart; "" where nothing counts steps."""
    steps = job.steps
    if steps is None:
        return ""
    return str(steps[0]) if steps[0] == steps[1] else f"{steps[0]}-{steps[1]}"


def ps_table(jobs: Sequence[Job]) -> str:
    """The listing of `cockpit ps`; steps and rates only where something beats."""
    if not jobs:
        return "no jobs (`cockpit ps --all` shows ended ones)"
    now = time.time()
    rows = []
    for job in jobs:
        flags = "".join(f" {flag}" for flag in job.flags)
        rows.append(
            (
                job.id,
                job.name,
                job.state.value + flags,
                str(len(job.nodes)),
                str(job.world_size or NONE),
                step_text(job),
                rate_text(step_time_of(job)),
                duration_text(runtime(job, now)),
                str(job.restarts),
                job.cluster,
                job.launcher,
                job.created_by,
            )
        )
    return columns_in_use(_HEADER, rows, optional=("STEP", "RATE"))


def columns_in_use(
    header: Sequence[str], rows: Sequence[Sequence[str]], optional: Sequence[str]
) -> str:
    """A table without those of the `optional` columns that are empty in every row."""
    kept = [
        index
        for index, name in enumerate(header)
        if name not in optional or any(row[index] for row in rows)
    ]
    return table([header[i] for i in kept], [[row[i] for i in kept] for row in rows])
