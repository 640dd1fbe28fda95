"""The operation `preflight`: what would make a start fail here, found before it is tried.

Runs in a thread; groups of checks run at the same time, each with a deadline. Each check says ok,
warn, crit or unknown, and how to repair what is wrong. `versions` are what must be equal on all
nodes; comparing them is the controller's part. Leaves nothing behind.
"""

from __future__ import annotations

from typing import Any

from cockpit.node.arguments import Arguments
from cockpit.node.checks import (
    checkdisk,
    checkgpus,
    checklimits,
    checknetwork,
    checkpython,
    facts,
    gpulook,
)
from cockpit.node.checks.checks import Check, all_within
from cockpit.node.statedir import Node

DEADLINE = 10.0
"""Seconds for everything but the Python, which has a time limit of its own."""


def run(node: Node, arguments: Arguments) -> dict[str, Any]:
    """See the row of `preflight` in `cockpit.protocol.messages`."""
    wanted = arguments.text("python", facts.DEFAULT_PYTHON)
    need = tuple(name for name in ("torch", "nvrx") if arguments.boolean(f"need_{name}", False))
    addr = arguments.text("addr", "")
    alone = arguments.boolean("alone", False)
    expected = arguments.optional_integer("gpus")
    env = arguments.text_mapping("env")
    full = arguments.boolean("full", False)

    def network() -> list[Check]:
        found = checknetwork.address(addr) if addr else []
        return [*found, *checknetwork.interfaces(env, gpulook.look(node.state_dir).real)]

    def host_name() -> list[Check]:
        return [] if alone or not addr else checknetwork.host_name(addr, env)

    checks = all_within(
        DEADLINE,
        {
            "state_dir": lambda: checkdisk.state_dir(node),
            "tmp": checkdisk.temporary,
            "shm": lambda: checkdisk.shared_memory(node),
            "gpu": lambda: checkgpus.health(gpulook.look(node.state_dir), expected),
            "gpu_log": lambda: checkgpus.slow(gpulook.look(node.state_dir)) if full else [],
            "limits": checklimits.limits,
            "network": network,
            "hostname": host_name,
            "infiniband": lambda: checknetwork.infiniband()[1],
        },
    )
    python = facts.inspect_python(wanted, node.host)
    look = gpulook.look(node.state_dir, 0.0)
    checks += checkpython.interpreter(node, python, need)
    checks += checkpython.cuda(python, look.real)
    nccl = python.nccl
    if full and python.cuda and not nccl:
        nccl, said = checkpython.nccl(python)
        checks += said
    versions = {
        **checkpython.versions(python, nccl),
        **checkgpus.versions(look),
        "infiniband": checknetwork.infiniband()[0],
    }
    return {"checks": checks, "versions": versions}
