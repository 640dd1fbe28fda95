"""First cause: of everything that went wrong in a generation, the one thing that began it.

When one rank dies, its peers fail within milliseconds with messages about closed connections,
and their launcher processes follow. `Suspect` is one such happening, `first_cause` chooses the
culprit: the earliest whose words do not mark it as a victim. `attempts` collects the suspects.
"""

from __future__ import annotations

import enum
import re
import signal
from collections.abc import Iterable

import msgspec

from cockpit.model import events as ev
from cockpit.model.types import Cause

TAIL = 50
"""Last lines of a rank that a cause keeps."""


class Guilt(enum.IntEnum):
    """How likely it is that something happened by itself, not in answer to something else."""

    CULPRIT = 0
    UNCLEAR = 1
    """It may be the answer to a peer that died or hangs: time-outs, aborts by a watchdog."""
    VICTIM = 2


class Suspect(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that went wrong. `at` is on the cluster's clock (see `clocks`)."""

    cause: Cause
    guilt: Guilt
    at: float
    generation: int | None = None


# What processes say when a peer went away. Each was seen in the words of the library named.
_VICTIM_TEXTS = (
    # gloo (transport/tcp/pair.cc, ProcessGroupGloo's connect and monitored barrier)
    r"Connection closed by peer",
    r"Connection reset by peer",
    r"Broken pipe",
    r"Socket closed",
    r"Application timeout caused pair closure",
    r"Gloo connectFullMesh failed",
    r"received errors while waiting for send/recv from rank",
    # NCCL
    r"remote process exited or there was a network error",
    r"ncclRemoteError",
    r"Connection closed by (?:remote peer|localRank)",
    r"unexpected exit of a remote peer",
    r"Got completion from peer .* with error",
    r"NET/OFI .*completed with error",
    # c10d's TCPStore
    r"[Ff]ailed to recv, got 0 bytes",
    r"Connection was likely closed",
    r"(?:recvValue|recvValueWithTimeout|recvVector|sendBytes|recvBytes)\w* failed on SocketImpl",
    # torchelastic, and Python ranks that it ends
    r"Process \d+ got signal: (?:15|SIGTERM)",
    r"SignalException",
    r"RendezvousClosedError",
    r"RendezvousConnectionError",
)
_UNCLEAR_TEXTS = (
    r"Watchdog caught collective operation timeout",
    r"Timed out waiting \d+ms for (?:recv|send) operation",
    r"timed out in monitoredBarrier",
    r"wait timeout after \d+ms",
    r"The client socket has (?:timed out|failed)",
    r"RendezvousTimeoutError",
    r"DistStoreError: Timed out",
)
_VICTIM = re.compile("|".join(_VICTIM_TEXTS))
_UNCLEAR = re.compile("|".join(_UNCLEAR_TEXTS))

_BY_OTHERS = frozenset((signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
"""Signals by which launcher processes and people stop ranks; a rank rarely earns them itself."""


def guilt_of(message: str, number: int | None = None) -> Guilt:
    """Judge words and signal of something that ended."""
    if number in _BY_OTHERS or _VICTIM.search(message):
        return Guilt.VICTIM
    if number == signal.SIGABRT or _UNCLEAR.search(message):
        return Guilt.UNCLEAR
    return Guilt.CULPRIT


def signal_name(number: int) -> str:
    """ "SIGKILL" for 9; "signal 64" for a number without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def split_code(code: int | None, number: int | None) -> tuple[int | None, int | None]:
    """Exit code and signal apart, also where a signal was given as a negative code."""
    if code is not None and code < 0:
        return None, number or -code
    return code, number


def rank_suspect(failure: ev.Failure, node: str, generation: int, at: float) -> Suspect:
    """One failed rank. `at` is its time on the cluster's clock."""
    code, number = split_code(failure.exit_code, failure.signal)
    evidence = f" ({failure.evidence})" if failure.evidence else ""
    # A rank that raised has said why. Its process may still die by a signal on the way out: torch
    # ends it, or a library aborts while the interpreter shuts down.
    raised = bool(failure.exception)
    guilt = guilt_of(f"{failure.exception}: {failure.message}", None if raised else number)
    if number == signal.SIGABRT and not raised and _VICTIM.search("\n".join(failure.tail[-TAIL:])):
        # A library that aborts says why on stderr only.
        guilt = Guilt.VICTIM
    if failure.oom:
        kind, guilt = "oom", Guilt.CULPRIT
        message = f"killed by the kernel: out of memory{evidence}"
    elif number is not None and not raised:
        kind, message = "signal", f"killed by {signal_name(number)}{evidence}"
    else:
        kind = "exit"
        message = failure.message or failure.exception or f"exited with code {code}"
    cause = Cause(
        kind=kind,
        node=node,
        rank=failure.rank,
        exit_code=code,
        signal=number,
        message=message,
        at=at,
        generation=generation,
        exception=failure.exception,
        tail=failure.tail[-TAIL:],
    )
    return Suspect(cause=cause, guilt=guilt, at=at, generation=generation)


def process_suspect(
    exited: ev.LauncherExited, node: str, generation: int | None, at: float, *, launcher: bool
) -> Suspect:
    """The process that the supervisor started has ended badly.

    `launcher`: it is a launcher process with ranks below it, else the user's own command.
    """
    code, number = split_code(exited.code, exited.signal)
    what = "the launcher process " if launcher else ""
    guilt = Guilt.CULPRIT
    if exited.oom:
        kind, message = "oom", f"{what}was killed by the kernel: out of memory"
    elif number is not None:
        kind, message = "signal", f"{what}was killed by {signal_name(number)}"
        guilt = Guilt.UNCLEAR if number in _BY_OTHERS else Guilt.CULPRIT
    else:
        kind = "launcher" if launcher else "exit"
        message = f"{what}exited with code {code}"
        guilt = Guilt.UNCLEAR if launcher and generation is not None else Guilt.CULPRIT
    cause = Cause(
        kind=kind,
        node=node,
        exit_code=code,
        signal=number,
        message=message if launcher else message.removeprefix("was "),
        at=at,
        generation=generation,
    )
    return Suspect(cause=cause, guilt=guilt, at=at, generation=generation)


def words_suspect(
    kind: str,
    node: str,
    message: str,
    at: float,
    *,
    generation: int | None = None,
    exit_code: int | None = None,
    guilt: Guilt | None = None,
) -> Suspect:
    """Something that is known by its words only; judged by them unless `guilt` is given."""
    cause = Cause(
        kind=kind, node=node, message=message, at=at, generation=generation, exit_code=exit_code
    )
    judged = guilt_of(message) if guilt is None else guilt
    return Suspect(cause=cause, guilt=judged, at=at, generation=generation)


def first_suspect(suspects: Iterable[Suspect]) -> Suspect | None:
    """The likeliest culprit: least marked as a victim, then earliest; None without suspects.

    Ties are broken by rank and node, so the answer does not depend on the order of arrival.
    """

    def order(suspect: Suspect) -> tuple[int, float, int, str]:
        rank = suspect.cause.rank
        return (suspect.guilt, suspect.at, -1 if rank is None else rank, suspect.cause.node)

    return min(suspects, key=order, default=None)


def first_cause(suspects: Iterable[Suspect]) -> Cause | None:
    """The cause that the likeliest culprit stands for."""
    chosen = first_suspect(suspects)
    return None if chosen is None else chosen.cause
