"""Evidence that the kernel's OOM killer, and not a person, ended a process.

The supervisor asks about the launcher process, the instrumented launcher process about its
ranks, each after a death by SIGKILL. Evidence is the kernel's own log where it can be read, else
the counter of the memory cgroup (v2 or v1). Never guesses from exit code 137 alone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

_KILLED = re.compile(r"Killed process (\d+)")
_MESSAGE = 300
_INITIAL_PID_NAMESPACE = "pid:[4026531836]"
_RECORD = 8192

_V2_ROOTS = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
_V1_ROOT = "/sys/fs/cgroup/memory"


class OomWatch:
    """Remembers how things stood when it was made; later deaths are judged against that.

    Make it before the processes start. `pids`: processes whose memory cgroups are watched in
    addition to this one's own (a container's, for example).
    """

    def __init__(self, pids: Iterable[int] = ()) -> None:
        counters = {path for pid in ("self", *map(str, pids)) for path in _counter_files(pid)}
        self._before = {path: _oom_kills(path) for path in sorted(counters)}
        self._killed: dict[int, str] = {}
        self._kmsg = _open_kernel_log()

    def evidence(self, pid: int) -> str:
        """One line that says how the OOM killer is known to have ended `pid`; "" if it is not.

        Meaningful for a process that died of SIGKILL while this watch existed.
        """
        self._read_kernel_log()
        if pid in self._killed:
            return f"kernel log: {self._killed[pid]}"
        if self._kmsg >= 0 and _pids_are_the_kernels():
            return ""
        for path, before in self._before.items():
            now = _oom_kills(path)
            if now > before:
                return f"{path}: oom_kill rose from {before} to {now}"
        return ""

    def close(self) -> None:
        if self._kmsg >= 0:
            os.close(self._kmsg)
            self._kmsg = -1

    def _read_kernel_log(self) -> None:
        while self._kmsg >= 0:
            try:
                record = os.read(self._kmsg, _RECORD)
            except BlockingIOError:
                return
            except BrokenPipeError:  # records were overwritten before they were read
                continue
            except OSError:
                self.close()
                return
            if not record:
                return
            # "priority,sequence,time,flags;message\n key=value\n…"
            message = record.decode("utf-8", "replace").partition(";")[2].partition("\n")[0]
            match = _KILLED.search(message)
            if match is not None:
                self._killed[int(match.group(1))] = message[:_MESSAGE]


def _open_kernel_log() -> int:
    """A descriptor at the end of the kernel's log, or -1 where that is not for us to read."""
    try:
        fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return -1
    try:
        os.lseek(fd, 0, os.SEEK_END)
    except OSError:
        os.close(fd)
        return -1
    return fd


def _pids_are_the_kernels() -> bool:
    """Whether a pid here is the number that the kernel log uses (no PID namespace between)."""
    try:
        return os.readlink("/proc/self/ns/pid") == _INITIAL_PID_NAMESPACE
    except OSError:
        return False


def _counter_files(pid: str) -> list[str]:
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        hierarchy, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if hierarchy == "0" and not controllers:
            candidates = [f"{root}{path.rstrip('/')}/memory.events" for root in _V2_ROOTS]
        elif "memory" in controllers.split(","):
            # Inside a container the path is the host's, while the mount shows only our part.
            candidates = [
                f"{_V1_ROOT}{path.rstrip('/')}/memory.oom_control",
                f"{_V1_ROOT}/memory.oom_control",
            ]
        else:
            continue
        found += [candidate for candidate in candidates if os.path.exists(candidate)][:1]
    return found


def _oom_kills(path: str) -> int:
    """The `oom_kill` figure of a cgroup file; 0 when it has none."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            for line in file:
                name, _, value = line.partition(" ")
                if name == "oom_kill":
                    return int(value)
    except (OSError, ValueError):
        return 0
    return 0
