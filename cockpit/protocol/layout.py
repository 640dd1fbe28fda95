"""Where things lie below a node's `state_dir`, and the names that tie processes to an attempt.

All paths are relative to `state_dir` and use `/`. Used by the node that writes and by the
controller that follows; pure functions, no I/O.
"""

from __future__ import annotations

import re

DEFAULT_STATE_DIR = "~/.cockpit"

MARKER = "COCKPIT_ATTEMPT"
"""Environment variable of every process of an attempt; its value is `marker(...)`."""
ATTEMPT_DIR_ENV = "COCKPIT_ATTEMPT_DIR"
"""Absolute path of the attempt's folder on this node; for the launcher process and its ranks."""
LAUNCHER_PID_ENV = "COCKPIT_LAUNCHER_PID"
"""Pid of the launcher process, so that a rank can tell that its parent died before prctl."""
GENERATION_ENV = "COCKPIT_GENERATION"
"""Rendezvous round of a rank, decimal."""
SLOTS_ENV = "COCKPIT_SLOTS"
"""Folder of the heartbeat slots of an attempt on this node; absent where `instrument` is off."""
STACK_SIGNAL = 46
"""The signal at which a rank's worker writes the stacks of all threads to its stack file. A
real-time signal: SIGUSR1 and SIGUSR2 belong to users, whose handlers save checkpoints and leave."""

JOB_ID = re.compile(r"[0-9a-f]{12}")
DIGEST = re.compile(r"[0-9a-f]{64}")

CODE = "code"
JOBS = "jobs"
TEMPORARY = "tmp"

CLAIM = "claim"
PLAN = "plan.json"
SUPERVISOR = "supervisor.json"
SUPERVISOR_LOCK = "supervisor.lock"
COMMANDS = "commands"
EVENTS = "events.jsonl"
LAUNCHER_EVENTS = "launcher.jsonl"
LOGS = "logs"
INDEX_SUFFIX = ".idx"
"""Beside each log file: binary `frames.INDEX_ENTRY` pairs (offset, wall time), at most 20 a second,
written by the supervisor. The byte at `offset` was first seen at `time`; a line has the time of
the newest entry whose offset is not past the line's start."""
ERRORS = "errors"
BEATS = "beats.jsonl"
"""Digests of the heartbeat slots, see `events`; thinned out as it grows and then replaced."""
REQUESTS = "requests"
"""What the supervisor asks of the launcher process: one JSON file per request, see `events`."""
STACKS = "stacks"
"""Below the attempt's folder: the files that ranks write their stacks to, and the stacks kept."""
SHARED_MEMORY = "/dev/shm"  # noqa: S108 - one private folder per user is made there


def job_dir(job: str) -> str:
    return f"{JOBS}/{job}"


def job_file(job: str) -> str:
    return f"{JOBS}/{job}/job.json"


def work_dir(job: str) -> str:
    """The job's own copy of its code; the working directory of its ranks, kept across attempts."""
    return f"{JOBS}/{job}/work"


def attempt_dir(job: str, attempt: int, node_rank: int) -> str:
    return f"{JOBS}/{job}/attempts/{attempt}/nodes/{node_rank}"


def code_dir(digest: str) -> str:
    return f"{CODE}/{digest}"


def rank_log(generation: int, local_rank: int, stream: str) -> str:
    """Relative to the attempt's folder. `stream` is "out" or "err"."""
    return f"{LOGS}/{generation}/{local_rank}.{stream}"


def rank_error(generation: int, local_rank: int) -> str:
    """Relative to the attempt's folder: the JSON that a failing rank leaves (torch's format)."""
    return f"{ERRORS}/{generation}.{local_rank}.json"


def slots_dir(uid: int, marker: str) -> str:
    """Absolute path: where the ranks of an attempt beat, as long as it runs."""
    return f"{SHARED_MEMORY}/cockpit-{uid}/{marker.replace('/', '.')}"


def slot(generation: int, local_rank: int) -> str:
    """Relative to the folder of the slots."""
    return f"{generation}.{local_rank}"


def monitor_slot(generation: int, local_rank: int) -> str:
    """Relative to the folder of the slots: what ft_launcher's rank monitor heard of a rank."""
    return f"{generation}.{local_rank}.ft"


def rank_stacks(generation: int, local_rank: int) -> str:
    """Relative to the attempt's folder: where a rank writes its stacks when asked by signal."""
    return f"{STACKS}/{generation}.{local_rank}.txt"


def kept_stacks(number: int) -> str:
    """Relative to the attempt's folder: stacks of all local ranks, as the op `stacks` has them."""
    return f"{STACKS}/{number}.json"


def launcher_log(stream: str) -> str:
    """Relative to the attempt's folder. `stream` is "out" or "err"."""
    return f"{LOGS}/launcher.{stream}"


def marker(job: str, attempt: int, node_rank: int) -> str:
    return f"{job}/{attempt}/{node_rank}"


def parse_marker(text: str) -> tuple[str, int, int] | None:
    """(job, attempt, node rank) of a marker; None for text that is none."""
    job, _, rest = text.partition("/")
    attempt, _, node_rank = rest.partition("/")
    if not JOB_ID.fullmatch(job) or not attempt.isdecimal() or not node_rank.isdecimal():
        return None
    return job, int(attempt), int(node_rank)
