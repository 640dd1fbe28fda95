"""Instruments one rank from within: the slot that it beats into, and stacks at a signal.

`worker` loads this file by its path before the user's script runs, and this file loads its
siblings the same way, under private names: nothing of cockpit is imported, so that whatever the
user calls `cockpit` stays the user's. Whatever fails is said in one line, and the rank runs on.
"""

from __future__ import annotations

import os
import signal
import sys
from importlib import machinery
from types import ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cockpit.node.rank.slot import Slot

# The same words as in `cockpit.protocol.layout`, which is not imported here (see above).
SLOTS_ENV = "COCKPIT_SLOTS"
ATTEMPT_DIR_ENV = "COCKPIT_ATTEMPT_DIR"
GENERATION_ENV = "COCKPIT_GENERATION"
STACK_SIGNAL = 46
STACKS = "stacks"

LOCAL_RANK_ENV = "LOCAL_RANK"
"""Set by torch for each rank."""

_HIGH_DESCRIPTOR = 900


def instrument() -> Slot | None:
    """The slot of this rank, or None where none is wanted or none can be had.

    The variable that asks for it is taken out of the environment: what the script starts is no
    rank of this attempt. The signal is handled before the slot is there, so that whoever sees
    the slot may send it.
    """
    folder = os.environ.pop(SLOTS_ENV, "")
    if not folder:
        return None
    try:
        generation = _number(GENERATION_ENV)
        local_rank = _number(LOCAL_RANK_ENV)
        problem = ""
        try:
            dump_stacks_on_signal(stack_file(generation, local_rank))
        except Exception as error:  # noqa: BLE001 - a rank without stacks trains as well
            problem = f"no stacks on demand: {error}"
            _say(problem)
        slots = load_sibling("_cockpit_slot", "slot.py")
        slot: Slot = slots.Slot(os.path.join(folder, f"{generation}.{local_rank}"), local_rank)
        slots.current = slot
        if problem:
            slot.note(problem)
        hook_torch(slot)
    except Exception as error:  # noqa: BLE001 - a rank without beats trains as well
        _say(f"no heartbeats: {error}")
        return None
    return slot


def stack_file(generation: int, local_rank: int) -> str:
    """Where this rank writes its stacks (`layout.rank_stacks`). Raises ValueError."""
    attempt = os.environ.get(ATTEMPT_DIR_ENV, "")
    if not attempt:
        raise ValueError(f"{ATTEMPT_DIR_ENV} is not set")
    return os.path.join(attempt, STACKS, f"{generation}.{local_rank}.txt")


def dump_stacks_on_signal(path: str) -> None:
    """STACK_SIGNAL adds the stacks of all threads to the file, even while the GIL is held.

    Raises OSError, and what faulthandler raises.
    """
    import faulthandler

    # What holds again once the interpreter shuts down: a look at that moment must not end the rank.
    signal.signal(STACK_SIGNAL, signal.SIG_IGN)
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    faulthandler.register(
        STACK_SIGNAL, file=_moved_up(os.open(path, flags, 0o600)), all_threads=True, chain=False
    )


def hook_torch(slot: Slot) -> None:
    """Have optimizers and DDP tell of steps, once and if ever the script imports torch."""
    after = load_sibling("_cockpit_afterimport", "afterimport.py")
    hooks = load_sibling("_cockpit_torchhooks", "torchhooks.py")
    steps = hooks.Steps(slot)
    after.call(
        {
            "torch.optim.optimizer": lambda module: hooks.hook_optimizers(steps, slot, module),
            "torch.nn.parallel.distributed": lambda module: hooks.hook_forwards(steps, module),
        }
    )


def load_sibling(name: str, file: str) -> Any:
    """The module in `file` beside this one, under the name `name`."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), file)
    loader = machinery.SourceFileLoader(name, path)
    module = ModuleType(name)
    module.__file__ = path
    module.__loader__ = loader
    module.__spec__ = machinery.ModuleSpec(name, loader, origin=path)
    sys.modules[name] = module
    try:
        loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _moved_up(fd: int) -> int:
    """The same file under a high number, where the system allows it.

    Whoever closes "all" descriptors and opens files again gets low numbers: a dump must not land
    in a file of the user's.
    """
    import fcntl

    try:
        high = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _HIGH_DESCRIPTOR)
    except OSError:
        return fd
    os.close(fd)
    return high


def _number(variable: str) -> int:
    text = os.environ.get(variable, "")
    if not text.isdecimal():
        raise ValueError(f"{variable} is no number: {text!r}")
    return int(text)


def _say(line: str) -> None:
    try:
        sys.stderr.write(f"cockpit: {line}\n")
    except Exception:  # noqa: BLE001 - None, closed or broken: then nobody is told
        return
