"""Macros in a plan's argv: `${name}` inside single elements, replaced on the node.

Launchers write macros; whatever a user gave is escaped first, so it arrives byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_MACRO = re.compile(r"\$\$\{|\$\{([a-z][a-z0-9_]*)\}")

NAMES = {
    "python": "the job's Python on the node",
    "runtime": "folder of the node runtime (holds the package `cockpit`)",
    "attempt_dir": "the attempt's folder on the node",
    "head_node_ip": "address of node rank 0 for training traffic",
    "node_addr": "address of this node for training traffic",
    "node_rank": "0, 1, … in the order of the plan (not torch's group rank)",
    "num_nodes": "nodes of the attempt at its start",
    "nproc_per_node": "ranks on this node",
    "rdzv_port": "port probed on node rank 0",
    "is_head": "1 on node rank 0, else 0",
    "job": "the job's id",
    "attempt": "0, 1, …",
}


def escape(text: str) -> str:
    """Make `text` survive `substitute` unchanged."""
    return text.replace("${", "$${")


def substitute(text: str, values: Mapping[str, str]) -> str:
    """Replace every macro of `text`. Raises KeyError with the name of one that has no value."""

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        return "${" if name is None else values[name]

    return _MACRO.sub(value, text)


def preview(text: str, values: Mapping[str, str]) -> str:
    """As `substitute`, but a macro whose value is not known yet stays as it is written."""

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        return "${" if name is None else values.get(name, match.group(0))

    return _MACRO.sub(value, text)
