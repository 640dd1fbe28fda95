"""What to type to have a job again: the draft that its record on the nodes tells. Pure."""

from __future__ import annotations

import shlex

from cockpit import profiles
from cockpit.errors import CockpitError
from cockpit.launchers import elastic, registry
from cockpit.profiles import Asked, Config
from cockpit.protocol.records import JobRecord
from cockpit.tui.launch.pad import Draft


def draft_of(record: JobRecord, config: Config) -> Draft:
    """A job profile of the job's name stands in it where that runs the very same thing."""
    profile = record.name if _is_profile(record, config) else ""
    kind, target, args = _what(record)
    count = f"{record.min_nodes}:{record.max_nodes}"
    return Draft(
        job=profile,
        cluster=record.cluster,
        launcher=record.launcher,
        nodes=str(record.min_nodes) if record.min_nodes == record.max_nodes else count,
        nproc_per_node=str(record.nproc_per_node),
        kind="" if profile else kind,
        target="" if profile else target,
        args="" if profile else shlex.join(args),
        env="\n".join(_variables(record, config, profile)),
        name="" if profile else record.name,
        working_dir=record.working_dir,
        max_restarts=str(record.max_restarts),
    )


def _is_profile(record: JobRecord, config: Config) -> bool:
    if record.name not in config.jobs:
        return False
    try:
        asked = Asked(job=record.name, working_dir=record.working_dir, nodes=1)
        return profiles.ask(config, asked).request.asked == record.command
    except CockpitError:
        return False


def _what(record: JobRecord) -> tuple[str, str, tuple[str, ...]]:
    """Kind, target and arguments, from the words that the user gave."""
    first, *rest = record.command or ("",)
    python = elastic.WORKER in record.argv or record.argv[:2] == ("${python}", "-u")
    if record.kind != "command":
        python = elastic.WORKER in record.argv
    if not python:
        return "command", first, tuple(rest)
    if first == "-m" and rest:
        return "module", rest[0], tuple(rest[1:])
    return "script", first, tuple(rest)


def _variables(record: JobRecord, config: Config, profile: str) -> list[str]:
    """What the job had beyond what the profiles give; secrets without their values."""
    given: dict[str, str] = {}
    secrets: set[str] = set()
    asked = Asked(
        job=profile or None,
        cluster=record.cluster,
        launcher=record.launcher,
        kind=None if profile else "command",
        target=None if profile else "true",
        nodes=1,
        working_dir=record.working_dir,
    )
    try:
        plan = registry.plan(profiles.ask(config, asked).request)
        given, secrets = plan.env, set(plan.secrets)
    except CockpitError:
        # The profiles have changed since; everything that the job had stands in the form then.
        pass
    lines = [f"{name}={value}" for name, value in record.env.items() if given.get(name) != value]
    return [*lines, *(name for name in record.secrets if name not in secrets)]
