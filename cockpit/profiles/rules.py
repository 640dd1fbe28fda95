"""What single keys may say beyond their type: hosts, names, paths, counts, patterns.

A rule takes a value of the right type and the folder that relative paths start from, returns the
value as it shall be kept, and raises UsageError where it makes no sense. Pure functions.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from typing import Any

from cockpit.errors import UsageError
from cockpit.profiles import environment, hosts, patterns, types
from cockpit.profiles.types import Cluster, JobProfile, Launcher, NodeSpec, Notify
from cockpit.protocol import macros
from cockpit.protocol.secretref import SecretRef

Rule = Callable[[Any, str], Any]

ONE_OR_MANY = frozenset({"identity_file", "ssh_config", "known_hosts"})
"""Keys that hold a list of files, where one file may stand without brackets."""

RDZV_CONF = (
    "read_timeout",
    "last_call_timeout",
    "close_timeout",
    "heartbeat_timeout",
    "keep_alive_interval",
    "keep_alive_max_attempt",
)
"""What torch's c10d rendezvous reads from --rdzv-conf and cockpit does not set by itself
(torch 2.13, `dynamic_rendezvous.create_handler`)."""


_RDZV_ID = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.-]{0,63}")
_PATH_MACROS = ("attempt_dir", "job", "attempt", "node_rank")
"""Those that make sense in a path, for a hint."""


def node_count(value: int | str) -> tuple[int, int]:
    """`4` -> (4, 4), `"2:4"` -> (2, 4). Raises UsageError if it makes no sense."""
    low, colon, high = str(value).partition(":")
    high = high if colon else low
    if not all(text.isascii() and text.isdigit() and len(text) < 10 for text in (low, high)):
        raise UsageError(f"{value!r} is no number of nodes", "write N, or MIN:MAX")
    if int(low) < 1:
        raise UsageError(f"{value!r} asks for less than one node", "write N, or MIN:MAX")
    if int(low) > int(high):
        raise UsageError(f"{value!r} runs backwards", f"write {high}:{low}")
    return int(low), int(high)


def process_count(value: int | str) -> int | str:
    """`"8"` -> 8; "auto", "gpu" and "cpu" stay. Raises UsageError on anything else."""
    text = str(value)
    if text in ("auto", "gpu", "cpu"):
        return text
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0):
        raise UsageError(
            f"{value!r} is no number of ranks per node", "write N, or one of auto, gpu, cpu"
        )
    return int(text)


def module(value: str) -> str:
    """Raises UsageError unless `value` can stand behind `python -m`."""
    if not all(part.isidentifier() for part in value.split(".")):
        raise UsageError(
            f"{value!r} is no name of a module", 'as behind python -m: "package.train"'
        )
    return value


def program(value: tuple[str, ...]) -> tuple[str, ...]:
    """Raises UsageError unless `value` starts with the name of something to run."""
    if not value or not value[0]:
        raise UsageError("it names no program", 'a list: ["program", "argument"]')
    if any("\0" in part for part in value):
        raise UsageError("it holds NUL, which no argument can")
    return value


def absolute(value: str, base: str) -> str:
    """A path of this machine, seen from the folder `base`, with `~` replaced."""
    if not value or "\0" in value:
        raise UsageError(f"{value!r} is no path")
    return os.path.normpath(os.path.join(base, os.path.expanduser(value)))


def _nodes(value: int | str, _: str) -> int | str:
    low, high = node_count(value)
    return low if ":" not in str(value) else f"{low}:{high}"


def _paths(value: tuple[str, ...], base: str) -> tuple[str, ...]:
    return tuple(absolute(item, base) for item in value)


def _user(value: str, _: str) -> str:
    hosts.check_user(value)
    return value


def _jump(value: str, _: str) -> str:
    hosts.check_proxy_jump(value)
    return value


def _python(value: str, _: str) -> str:
    if value.startswith("-"):
        raise UsageError(f"{value!r} starts with a dash", "write the path of a Python")
    return value


def _state_dir(value: str, _: str) -> str:
    if not value.startswith(("/", "~")):
        raise UsageError(
            f"{value!r} is a relative path", "write an absolute path, or one from the home: ~/…"
        )
    return value


def _variable(value: str, _: str) -> str:
    environment.check_name(value)
    return value


def _rdzv_id(value: str, _: str) -> str:
    if not _RDZV_ID.fullmatch(value):
        raise UsageError(
            f"{value!r} cannot name a rendezvous",
            "letters, digits, dots, dashes and underscores, at most 64, the first no dash",
        )
    return value


def _node_path(value: str, _: str) -> str:
    """A path on the nodes, in which macros are replaced there."""
    try:
        shown = macros.substitute(value, {name: "/" + name for name in macros.NAMES})
    except KeyError as error:
        raise UsageError(
            f"there is no macro ${{{error.args[0]}}}",
            "there are " + ", ".join(f"${{{name}}}" for name in _PATH_MACROS),
        ) from None
    if not shown.startswith("/") or not value.startswith(("/", "${attempt_dir}")):
        raise UsageError(
            f"{value!r} is no absolute path",
            "write an absolute path on the nodes, or one that starts with ${attempt_dir}/",
        )
    return value


def _signal(value: str, _: str) -> str:
    if value not in signal.Signals.__members__:
        raise UsageError(f"there is no signal {value}", 'such as "SIGKILL" or "SIGTERM"')
    return value


def _pattern(value: str, _: str) -> str:
    patterns.check(value)
    return value


RULES: dict[tuple[type, str], Rule] = {
    (NodeSpec, "user"): _user,
    (NodeSpec, "python"): _python,
    (NodeSpec, "state_dir"): _state_dir,
    (Cluster, "user"): _user,
    (Cluster, "identity_file"): _paths,
    (Cluster, "proxy_jump"): _jump,
    (Cluster, "ssh_config"): _paths,
    (Cluster, "known_hosts"): _paths,
    (Cluster, "python"): _python,
    (Cluster, "state_dir"): _state_dir,
    (Launcher, "rdzv_id"): _rdzv_id,
    (Launcher, "cfg_path"): absolute,
    (Launcher, "finished_flag_file"): _node_path,
    (Launcher, "job_results_file"): _node_path,
    (Launcher, "rank_termination_signal"): _signal,
    (JobProfile, "nodes"): _nodes,
    (JobProfile, "module"): lambda value, _: module(value),
    (JobProfile, "command"): lambda value, _: program(value),
    (JobProfile, "working_dir"): absolute,
    (Notify, "command"): lambda value, _: program(value),
    (SecretRef, "env"): _variable,
    (SecretRef, "cmd"): lambda value, _: program(value),
    (SecretRef, "file"): absolute,
    (types.Rule, "pattern"): _pattern,
}
"""By the record and the key; keys without a rule are held to their type alone."""


def _rdzv_entry(name: str) -> None:
    if name == "join_timeout":
        raise UsageError("it has a key of its own", "write join_timeout in the launcher itself")
    if name not in RDZV_CONF:
        raise UsageError(
            "torch's rendezvous does not read it, or cockpit sets it",
            f"known here: {', '.join(RDZV_CONF)}",
        )


def _metric_name(name: str) -> None:
    # What a heartbeat slot has room for, and what can be a keyword of cockpit.heartbeat.
    if not name.isidentifier() or len(name.encode()) > 40:
        raise UsageError(
            f"{name[:60]!r} is no name of a metric",
            "a letter, then letters, digits and underscores, at most 40",
        )


def _metric_pattern(value: str) -> None:
    if not patterns.compiled(value).groups:
        raise UsageError(
            "the pattern has no group that holds the number", "'loss[=: ]+([0-9.eE+-]+)'"
        )


def _section_name(name: str) -> None:
    if not name.strip() or name != name.strip() or not name.isprintable() or set(name) & set(",:="):
        raise UsageError(
            f"{name[:60]!r} is no name of a section", "printable text without commas and colons"
        )


ENTRY_RULES: dict[tuple[type, str], Callable[[str], None]] = {
    (Cluster, "env"): environment.check_name,
    (Cluster, "secrets"): environment.check_name,
    (Launcher, "env"): environment.check_name,
    (Launcher, "rdzv_conf"): _rdzv_entry,
    (Launcher, "rank_section_timeouts"): _section_name,
    (JobProfile, "env"): environment.check_name,
    (JobProfile, "secrets"): environment.check_name,
    (JobProfile, "metrics"): _metric_name,
}
"""Rules for the names inside keys that hold a table."""

ENTRY_VALUE_RULES: dict[tuple[type, str], Callable[[Any], None]] = {
    (JobProfile, "metrics"): _metric_pattern,
}
"""Rules for the values beside those names."""
