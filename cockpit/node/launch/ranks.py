"""How the ranks of one generation died: who first, by what, and what they said.

Used by the recorder of the instrumented launcher process. A death is seen without reaping, so
torch's own bookkeeping is not touched; the moment of looking is what tells those that died by
themselves from those that torch ended because of them.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from cockpit.node.launch.lastwords import last_words

_MESSAGE = 1000


class Rank(NamedTuple):
    """One process of a generation.

    `error_file`: where it leaves its record; `out`, `err`: its logs; "" if nowhere.
    """

    rank: int
    local_rank: int
    pid: int
    error_file: str = ""
    out: str = ""
    err: str = ""


class Death(NamedTuple):
    """`at` is the wall time at which it was seen; `status` an exit code, or minus a signal, or
    None where torch had reaped the process and only torch can tell."""

    at: float
    status: int | None


class Deaths:
    """Watches the ranks of one generation, which must be children of this process."""

    def __init__(self, ranks: Iterable[Rank], oom_evidence: Callable[[int], str]) -> None:
        self.ranks = tuple(ranks)
        self._oom_evidence = oom_evidence
        self._seen: dict[int, Death] = {}
        self._reported = False
        self._told: set[int] = set()

    def look(self) -> None:
        """Note which ranks are dead by now. To be called before torch ends the others."""
        now = time.time()
        for rank in self.ranks:
            if rank.pid in self._seen:
                continue
            try:
                result = os.waitid(os.P_PID, rank.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                self._seen[rank.pid] = Death(now, None)
                continue
            if result is not None:
                exited = result.si_code == os.CLD_EXITED
                status = result.si_status if exited else -result.si_status
                self._seen[rank.pid] = Death(now, status)

    def failures(self, reported: Mapping[int, int]) -> list[dict[str, Any]]:
        """The failures of this generation that were not told before, first one first.

        They are journal records. `reported`: exit code (or minus signal) by global rank, as torch
        has it; once it ended the others, of all. A rank that torch ended is no failure, unless it
        had left a record before.
        """
        self._reported = True
        now = time.time()
        found, ended = [], []
        for rank in self.ranks:
            if rank.pid in self._told:
                continue
            death = self._seen.get(rank.pid)
            status = death.status if death is not None else None
            if status is None:
                status = reported.get(rank.rank, 0)
            if status == 0:
                continue
            record = read_record(rank.error_file)
            by_torch = death is None and status in (-signal.SIGTERM, -signal.SIGKILL)
            # It had failed by itself and was on its way out when torch ended it because of a peer,
            # or a library aborted as the peers went away: what it would have left with is true.
            own = own_status(record)
            failure = describe(rank, own or status, death.at if death is not None else now, record)
            if by_torch and not record:
                ended.append(failure)
                continue
            if status == -signal.SIGKILL and death is not None and not own:
                failure["evidence"] = self._oom_evidence(rank.pid)
                failure["oom"] = bool(failure["evidence"])
            found.append(failure)
        new = found or (ended if not self._told else [])
        self._told.update(failure["pid"] for failure in new)
        return sorted(new, key=lambda failure: float(failure["at"]))

    def unreported(self, codes: Mapping[int, int]) -> list[dict[str, Any]]:
        """Failures while torch has reported none: it is about to, or stops the group for another
        reason. `codes`: exit code (or minus signal) by global rank of those it has reaped.
        """
        return [] if self._reported else self.failures(codes)


def describe(rank: Rank, status: int, at: float, record: Mapping[str, Any]) -> dict[str, Any]:
    """One FAILURE of `cockpit.protocol.events`. `at` is when the death was seen."""
    ours, torchs = _table(record.get("cockpit")), _table(record.get("message"))
    if ours:
        stamp = ours.get("at")
        at = stamp if isinstance(stamp, float) else at
        exception, message = _line(ours.get("type")), _line(ours.get("message"))
    else:
        # Left by torch's own @record: whole seconds, so the rank raised before the next one.
        seconds = str(_table(torchs.get("extraInfo")).get("timestamp", ""))
        at = min(at, int(seconds) + 1.0) if seconds.isdecimal() else at
        message = _line(torchs.get("message"))
        exception = message.partition(":")[0]
    return {
        "rank": rank.rank,
        "local_rank": rank.local_rank,
        "pid": rank.pid,
        "exit_code": status if status >= 0 else None,
        "signal": -status if status < 0 else None,
        "at": at,
        "message": message or ending(status),
        "exception": exception,
        "oom": False,
        "evidence": "",
        "tail": last_words(rank.err, rank.out),
    }


def own_status(record: Mapping[str, Any]) -> int | None:
    """The exit code that a rank's record announces; None without a record of ours."""
    status = _table(record.get("cockpit")).get("status")
    return status if isinstance(status, int) and not isinstance(status, bool) else None


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _line(value: Any) -> str:
    """The first line of what should be a text; anybody may have written it."""
    return next(iter(value.splitlines()), "")[:_MESSAGE] if isinstance(value, str) else ""


def ending(status: int) -> str:
    """How a process ended, for people, where it left no word of its own."""
    if status >= 0:
        return f"exit code {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"


def read_record(path: str) -> dict[str, Any]:
    """What a rank left in its error file; {} when there is nothing to read."""
    if not path:
        return {}
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            record = json.load(file)
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}
