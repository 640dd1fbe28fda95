"""cockpit: profiles in a TOML file, jobs on many nodes, one screen that tells the truth about them.

This module is imported on nodes by user code too, so it stays free of imports. All that training
code may use of it is `heartbeat`.
"""

import sys

__version__ = "0.1.0"


def heartbeat(step: "int | None" = None, **metrics: "float | None") -> None:
    """Say that this rank is alive, how far it is, and what it measures.

        import cockpit
        cockpit.heartbeat(step=step, loss=loss.item(), tokens=tokens)

    Every ordinary PyTorch job beats at each optimizer step without this call; with it `step` is
    what this code says, and every keyword is a metric with a history. Outside of a job, and in
    child processes of a rank, it does nothing.

    step: from 0 on; once it is given, optimizer steps are no longer counted.
    metrics: numbers; at most 64 names of at most 40 bytes. NaN is a value; None leaves the last
        one. A tensor of one element is read, which waits for its GPU. Anything else is left out,
        with one line on stderr.

    It takes about a microsecond, never blocks and raises nothing.
    """


# Inside a rank the worker has loaded the slot before, under this name: its own method, at full
# speed, also where the training environment has a cockpit of its own installed.
_slot = getattr(sys.modules.get("_cockpit_slot"), "current", None)
if _slot is not None:
    heartbeat = _slot.heartbeat
del _slot
