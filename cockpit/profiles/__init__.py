"""`cockpit.toml` and typed profiles: find, load, merge, check, resolve, and edit without losing
comments. Called by the faces and the controller; never talks to a node.
"""

from cockpit.profiles.edit import delete, set_value
from cockpit.profiles.environment import looks_secret, parse_env, read_env_file
from cockpit.profiles.hosts import expand_hosts
from cockpit.profiles.loading import builtin, check, config_files, load, with_cluster
from cockpit.profiles.request import Request
from cockpit.profiles.resolve import resolve
from cockpit.profiles.schema import descriptions, schema
from cockpit.profiles.types import Cluster, Config, JobProfile, Launcher, NodeSpec, Rule, Source
from cockpit.protocol.records import SecretRef

__all__ = [
    "Cluster",
    "Config",
    "JobProfile",
    "Launcher",
    "NodeSpec",
    "Request",
    "Rule",
    "SecretRef",
    "Source",
    "builtin",
    "check",
    "config_files",
    "delete",
    "descriptions",
    "expand_hosts",
    "load",
    "looks_secret",
    "parse_env",
    "read_env_file",
    "resolve",
    "schema",
    "set_value",
    "with_cluster",
]
