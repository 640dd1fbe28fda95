"""Causes and ends in the words that people read, for tables and for narration. Pure functions."""

from __future__ import annotations

from cockpit.model.causes import signal_name
from cockpit.model.causewords import predicate, subject
from cockpit.model.types import Cause, Generation, JobNode, NodeState
from cockpit.text import count_of


def describe(cause: Cause) -> str:
    """A cause as one line: who, where, what."""
    if cause.rank is None and cause.kind != "stall":
        return _without_rank(cause)
    who = _who(cause)
    where = f"on {cause.node}" if cause.node and not cause.alike else ""
    what = ""
    if cause.kind == "stall":
        # Its words name the ranks.
        return f"stall {where}: {cause.message}" if where else f"stall: {cause.message}"
    if cause.kind == "exit" and cause.exit_code is not None:
        what = f"exited with {cause.exit_code}"
        if cause.message in (f"exit code {cause.exit_code}", f"exited with code {cause.exit_code}"):
            return " ".join(part for part in (who, where, what) if part)
    elif cause.kind == "oom":
        what = "ran out of memory"
    head = " ".join(part for part in (who, where, what) if part)
    return f"{head}: {cause.message}" if head and cause.message else head or cause.message


def _without_rank(cause: Cause) -> str:
    who, message = subject(cause), predicate(cause)
    if not who:
        # Some messages begin with the node's name.
        bare = not cause.node or message.startswith(f"{cause.node} ")
        return message if bare else f"{cause.node}: {message or 'failed'}"
    where = f" on {cause.node}" if cause.node else ""
    if message.startswith("killed by "):
        message = f"was {message}"
    if cause.kind == "exit" and message == f"exited with code {cause.exit_code}":
        message = f"exited with {cause.exit_code}"
    return f"{who}{where} {message or 'failed'}"


def _who(cause: Cause) -> str:
    if cause.everyone:
        return f"all {cause.alike + 1} ranks"
    if cause.alike:
        where = f" on {cause.node}" if cause.node else ""
        return f"rank {cause.rank}{where} and {count_of(cause.alike, 'other')} alike"
    return f"rank {cause.rank}"


def headline(cause: Cause) -> str:
    """A cause as one line, what a rule recognised first."""
    return f"{cause.label}: {describe(cause)}" if cause.label else describe(cause)


def node_end(node: JobNode) -> str:
    """How a node without ranks ended badly: "exit 7", "SIGKILL", or in words; else ""."""
    if node.ranks or node.state not in (NodeState.FAILED, NodeState.LOST):
        return ""
    if node.signal is not None:
        return signal_name(node.signal)
    return node.why if node.exit_code is None else f"exit {node.exit_code}"


def ending_of(generation: Generation) -> str:
    """Why a generation ended, in a few words; "running" while it goes on."""
    if generation.reason == "membership":
        return "the set of nodes changed"
    if generation.reason == "operator":
        return f"restarted by {generation.by}" if generation.by else "restarted on request"
    if generation.reason == "stall":
        return "stalled"
    return generation.reason or "running"


def victims_text(generation: Generation) -> str:
    """How many ranks failed with it; "" for none."""
    if not generation.victim_count:
        return ""
    thing = "rank" if generation.cause is None else "other rank"
    return f"{count_of(generation.victim_count, thing)} failed then"
