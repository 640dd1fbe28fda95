"""What a launch is before anything runs: the request (from `profiles`) and the plan made of it.

Pure data; `--dry-run` prints a plan, the executor runs that very value.
"""

from __future__ import annotations

import msgspec

from cockpit.profiles.request import Request
from cockpit.protocol.records import Watch
from cockpit.protocol.secretref import SecretRef

__all__ = ["Plan", "Request"]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What every node of the job runs: one argv with macros, one environment, one working dir.

    `argv` elements may hold macros (`cockpit.protocol.macros`); all that the user gave is
    escaped. `env` holds no secret values; `secrets` says where they are found at launch. `watch`,
    `files` and `finished_flag` are as in JobRecord.
    """

    argv: tuple[str, ...]
    env: dict[str, str]
    secrets: dict[str, SecretRef]
    kind: str
    grace: float
    max_restarts: int
    watch: Watch = Watch()
    files: dict[str, str] = {}
    """Written into the attempt's folder on each node: path below it -> text with macros."""
    finished_flag: str = ""
