"""The launcher kinds, by name. The executor and `--dry-run` call `plan`; nothing else does."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from cockpit.errors import UsageError
from cockpit.launchers import command, ft, torchrun
from cockpit.launchers.plan import Plan, Request

KINDS: Mapping[str, Callable[[Request], Plan]] = {
    module.KIND: module.plan for module in (torchrun, ft, command)
}
"""Each kind is a module with KIND and plan(request)."""


def plan(request: Request) -> Plan:
    """What every node will run for `request`. Pure; raises UsageError for impossible requests."""
    kind = request.launcher.kind
    if kind not in KINDS:
        raise UsageError(
            f"launcher {request.launcher.name!r} has the unknown kind {kind!r}",
            f"known kinds: {', '.join(sorted(KINDS))}",
        )
    return KINDS[kind](request)
