"""`cockpit.toml` and typed profiles: find, load, merge, check, resolve, and edit without losing
comments. Called by the faces and the controller; never talks to a node.

A name is imported when it is first asked for: a screen does not wait for what edits files.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cockpit.profiles.asking import Answer, Asked, ask, command_line, node_names, profile_values
    from cockpit.profiles.edit import change, delete, set_value
    from cockpit.profiles.environment import looks_secret, parse_env, read_env_file
    from cockpit.profiles.hosts import expand_hosts
    from cockpit.profiles.loading import (
        builtin,
        check,
        config_files,
        load,
        user_file,
        with_added,
        with_cluster,
    )
    from cockpit.profiles.request import Request
    from cockpit.profiles.resolving import resolve
    from cockpit.profiles.schemas import descriptions, schema
    from cockpit.profiles.types import (
        Cluster,
        Config,
        JobProfile,
        Launcher,
        NodeSpec,
        Notify,
        Rule,
        Screen,
        Source,
    )
    from cockpit.profiles.written import Written, check_values, key_of, read_written
    from cockpit.protocol.secretref import SecretRef

__all__ = [
    "Answer",
    "Asked",
    "Cluster",
    "Config",
    "JobProfile",
    "Launcher",
    "NodeSpec",
    "Notify",
    "Request",
    "Rule",
    "Screen",
    "SecretRef",
    "Source",
    "Written",
    "ask",
    "builtin",
    "change",
    "check",
    "check_values",
    "command_line",
    "config_files",
    "delete",
    "descriptions",
    "expand_hosts",
    "key_of",
    "load",
    "looks_secret",
    "node_names",
    "parse_env",
    "profile_values",
    "read_env_file",
    "read_written",
    "resolve",
    "schema",
    "set_value",
    "user_file",
    "with_added",
    "with_cluster",
]

_NAMES = {
    "cockpit.profiles.asking": (
        "Answer",
        "Asked",
        "ask",
        "command_line",
        "node_names",
        "profile_values",
    ),
    "cockpit.profiles.edit": ("change", "delete", "set_value"),
    "cockpit.profiles.environment": ("looks_secret", "parse_env", "read_env_file"),
    "cockpit.profiles.hosts": ("expand_hosts",),
    "cockpit.profiles.loading": (
        "builtin",
        "check",
        "config_files",
        "load",
        "user_file",
        "with_added",
        "with_cluster",
    ),
    "cockpit.profiles.request": ("Request",),
    "cockpit.profiles.resolving": ("resolve",),
    "cockpit.profiles.schemas": ("descriptions", "schema"),
    "cockpit.profiles.types": (
        "Cluster",
        "Config",
        "JobProfile",
        "Launcher",
        "NodeSpec",
        "Notify",
        "Rule",
        "Screen",
        "Source",
    ),
    "cockpit.profiles.written": ("Written", "check_values", "key_of", "read_written"),
    "cockpit.protocol.secretref": ("SecretRef",),
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(importlib.import_module(_MODULES[name]), name)
    return found
