"""Pure decisions of a start: which address, how many ranks, which macro values a node gets."""

from __future__ import annotations

import ipaddress
import os

from cockpit.errors import UsageError
from cockpit.profiles.types import NodeSpec
from cockpit.protocol.messages import Facts, Hello
from cockpit.protocol.records import JobRecord, Member

MAX_CLOCK_SPREAD = 10.0
"""Seconds. torch's c10d rendezvous compares the wall clocks of different nodes: 14 s apart still
worked, 20 s made one node train alone and exit 0 (measured on torch 2.13)."""


def training_address(spec: NodeSpec, hello: Hello) -> str:
    """Where training traffic of this node goes: the profile's `addr`; an address given as host;
    the address on which sshd answered; this machine's loopback for a local node."""
    if spec.addr:
        return spec.addr
    try:
        return str(ipaddress.ip_address(spec.host))
    except ValueError:
        return hello.address or "127.0.0.1"


def ranks_on_node(wanted: int | str, spec: NodeSpec, facts: Facts) -> int:
    """How many ranks a node starts. Raises UsageError where "gpu" is asked of a node without."""
    if isinstance(wanted, int):
        return wanted
    gpus = spec.gpus if spec.gpus is not None else (0 if facts.simulated else facts.gpus)
    if wanted == "cpu":
        return max(facts.cpus, 1)
    if wanted == "gpu" and gpus < 1:
        raise UsageError(
            f"{spec.name} has no GPU that its driver shows, and one rank per GPU was asked for",
            "use --nproc-per-node N or auto, or set `gpus` for the node in cockpit.toml",
        )
    return max(gpus, 1)


def macros(
    job: JobRecord,
    attempt: int,
    member: Member,
    head: Member,
    nodes: int,
    nproc: int,
    python: str,
    port: int,
) -> dict[str, str]:
    """Values for the job's argv on one node; `runtime` and `attempt_dir` are the node's to add."""
    return {
        "python": python,
        "head_node_ip": head.addr,
        "node_addr": member.addr,
        "node_rank": str(member.node_rank),
        "num_nodes": str(nodes),
        "nproc_per_node": str(nproc),
        "rdzv_port": str(port),
        "is_head": "1" if member.node_rank == head.node_rank else "0",
        "job": job.id,
        "attempt": str(attempt),
    }


def new_job_id() -> str:
    """Twelve hexadecimal digits, random."""
    return os.urandom(6).hex()
