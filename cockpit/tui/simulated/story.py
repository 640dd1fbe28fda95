"""What happens in the simulated fleet, and when: who is out of reach, who is slow, who fails.

Pure functions of the seconds since it was opened, so that the same moment always looks the same.
The first moment already shows a bit of everything; afterwards things come and go.
"""

from __future__ import annotations

import dataclasses
import random

from cockpit.model.types import Cause

CLUSTER = "simulated"
ROLES_FROM = 8
"""Nodes from which on some are out of reach or silent; fewer are all well but for a slow one."""

DIP = 9.0
"""Seconds between the end of a generation and the start of the next."""
_FIRST_FAILURE, _FAILURE_EVERY = 120.0, 300.0
_AWAY_EVERY, _AWAY_FROM, _AWAY_UNTIL = 180.0, 60.0, 100.0
_SILENT_EVERY, _SILENT_FOR, SILENT_BEFORE = 120.0, 45.0, 9.0
_SLOW_EVERY, _SLOW_FOR = 150.0, 90.0
_WAVE = 256

_FAILURES = (
    Cause(
        kind="exit",
        exit_code=1,
        exception="torch.distributed.DistBackendError",
        message="Watchdog caught collective operation timeout: WorkNCCL(OpType=ALLREDUCE)",
        label="NCCL timeout",
        hint="another rank was late or gone; look at the stacks of the ranks that are behind",
        tail=(
            "Traceback (most recent call last):",
            '  File "train.py", line 212, in step',
            "    loss.backward()",
            "torch.distributed.DistBackendError: Watchdog caught collective operation timeout",
        ),
    ),
    Cause(
        kind="exit",
        exit_code=1,
        exception="torch.OutOfMemoryError",
        message="CUDA out of memory. Tried to allocate 2.00 GiB. GPU 3 has 79.10 GiB in all",
        label="CUDA out of memory",
        hint="a smaller batch, activation checkpointing, or expandable segments",
        tail=(
            "Traceback (most recent call last):",
            '  File "model.py", line 88, in forward',
            "    x = self.mlp(self.norm(x))",
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
        ),
    ),
    Cause(
        kind="signal",
        signal=9,
        message="killed by SIGKILL",
        label="killed",
        hint="somebody or the kernel killed it: look at dmesg of the node",
    ),
    Cause(
        kind="exit",
        exit_code=1,
        exception="RuntimeError",
        message="CUDA error: uncorrectable ECC error encountered (Xid 79)",
        label="GPU has fallen off the bus",
        hint="the node needs a reset; leave it out of the next attempt",
        tail=("RuntimeError: CUDA error: uncorrectable ECC error encountered",),
    ),
)


@dataclasses.dataclass(frozen=True)
class Failure:
    """A generation of the big job ends at `at` (seconds since the opening; before it: negative)."""

    at: float
    place: int
    """Which of the job's nodes."""
    cause: Cause


class Story:
    """`count` nodes; `seed` decides figures, not what happens."""

    def __init__(self, count: int, seed: int = 0) -> None:
        self.count = count
        full = count >= ROLES_FROM
        self.dead = count * 90 // 128 if full else None
        """The node that is never in reach."""
        self.silent = count * 41 // 128 if full else None
        """The node whose figures are late at first, and now and then."""
        self.leaving = count * 31 // 128 if full else None
        """The node that goes away for a while now and then."""
        self.slow = count * 77 // 128
        """The node with a GPU that is slow now and then."""
        chance = random.Random(seed)
        self.wave = tuple(round(chance.gauss(0, 2.2)) for _ in range(_WAVE))
        """Small changes of figures, to be taken at any number modulo its length."""

    def name(self, index: int) -> str:
        return f"n{index:03d}"

    def away_since(self, index: int, now: float) -> float | None:
        """Since when a node is out of reach, seconds; None where it is in reach."""
        if index == self.dead:
            return -41.0
        if index != self.leaving or now < 0:
            return None
        phase = now % _AWAY_EVERY
        return now - phase + _AWAY_FROM if _AWAY_FROM <= phase < _AWAY_UNTIL else None

    def last_sample(self, index: int, now: float) -> float | None:
        """When the newest figures of a node came, at the latest; None before the first."""
        if index == self.dead:
            return None
        since = self.away_since(index, now)
        if since is not None:
            return since
        if index == self.silent and now >= 0:
            phase = now % _SILENT_EVERY
            if phase < _SILENT_FOR:
                return now - phase - SILENT_BEFORE
        return now

    def is_slow(self, now: float) -> bool:
        """Whether GPU 3 of the slow node keeps its job waiting."""
        return now % _SLOW_EVERY < _SLOW_FOR

    def failures(self, now: float) -> list[Failure]:
        """What went wrong with the big job until now, oldest first."""
        found = [
            Failure(-16_000.0, self.count * 31 // 128, _FAILURES[3]),
            Failure(-3_000.0, self.count * 90 // 128, _FAILURES[0]),
        ]
        number = 0
        while (at := _FIRST_FAILURE + number * _FAILURE_EVERY) <= now:
            found.append(Failure(at, number * 37 + 5, _FAILURES[number % len(_FAILURES)]))
            number += 1
        return found


def out_of_memory() -> Cause:
    """What the failed job died of."""
    return _FAILURES[1]
