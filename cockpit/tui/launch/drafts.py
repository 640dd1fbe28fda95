"""What was typed into the launch form, read: the request it asks for, or what is wrong where. Pure
but for the look at the disk that `profiles.ask` takes; call it off the event loop.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import msgspec

from cockpit import profiles
from cockpit.errors import CockpitError, UsageError
from cockpit.launchers.registry import plan
from cockpit.model.choosing import candidates, order
from cockpit.model.types import Fleet, Job
from cockpit.profiles import Asked, Config, JobProfile
from cockpit.tui.launch.pad import Checked, Draft, Trouble

_T = TypeVar("_T")
_FIELDS = frozenset(Draft._fields)
_ALIASES = {"script": "target", "module": "target", "command": "target"}


def check(
    draft: Draft,
    config: Config,
    fleet: Fleet,
    environ: Mapping[str, str] | None = None,
    *,
    mono: float | None = None,
) -> Checked:
    """The request for a draft, with the nodes that are free first, or every problem that shows.
    `mono`: as `candidates` takes it."""
    asked, problems = read(draft, config, environ)
    cluster = config.clusters.get(draft.cluster)
    if cluster is not None and cluster.read_only:
        problems["cluster"] = Trouble(f"cluster {cluster.name} is read-only")
    try:
        request, given = profiles.ask(config, asked)
        if request.cluster.read_only:
            name = request.cluster.name
            problems.setdefault("cluster", Trouble(f"cluster {name} is read-only on the screen"))
        specs = order(request.nodes, candidates(request.cluster, fleet, mono))
        taken = {spec.name for spec in specs[: request.max_nodes]}
        usual = {spec.name for spec in request.nodes[: request.max_nodes]}
        if taken != usual:
            # Said in the command line too, which knows nothing of what is free.
            names = tuple(spec.name for spec in specs[: request.max_nodes])
            asked = msgspec.structs.replace(asked, on=names, nodes=asked.nodes or _count(request))
        request = msgspec.structs.replace(request, nodes=specs)
        plan(request)
    except CockpitError as error:
        field = error.about if isinstance(error, UsageError) else ""
        field = _ALIASES.get(field, field)
        problems.setdefault(field if field in _FIELDS else "", trouble(error))
    if problems:
        return Checked(problems)
    return Checked({}, request, given, profiles.command_line(asked, request.secrets))


def _count(request: profiles.Request) -> str:
    low, high = request.min_nodes, request.max_nodes
    return str(low) if low == high else f"{low}:{high}"


def trouble(error: CockpitError) -> Trouble:
    """An error for the form; hints that speak of options are of no use there."""
    options = any(word.startswith("-") for word in error.hint.split())
    return Trouble(error.message, "" if options else error.hint)


def kind_of(profile: JobProfile | None) -> str:
    """What a job profile runs: script | module | command; a script where there is none."""
    if profile is None or profile.script is not None:
        return "script"
    return "module" if profile.module is not None else "command"


def read(
    draft: Draft, config: Config, environ: Mapping[str, str] | None = None
) -> tuple[Asked, dict[str, Trouble]]:
    """What is asked for, less the fields that make no sense, and why they do not."""
    problems: dict[str, Trouble] = {}

    def part(field: str, parse: Callable[[str], _T], otherwise: _T) -> _T:
        text = str(getattr(draft, field)).strip()
        try:
            return parse(text) if text else otherwise
        except CockpitError as error:
            problems[field] = trouble(error)
        except ValueError as error:
            problems[field] = Trouble(str(error))
        return otherwise

    job, target = draft.job or None, draft.target.strip() or None
    base = config.jobs.get(draft.job)
    usual = kind_of(base)
    kind = draft.kind or usual
    if base is not None and target is None and kind != usual:
        problems["target"] = Trouble(
            f"which {kind}? {base.name} runs a {usual}", f"name the {kind} to run instead of it"
        )
    asked = Asked(
        job=job,
        cluster=draft.cluster or None,
        launcher=draft.launcher or None,
        nodes=draft.nodes.strip() or None,
        nproc_per_node=draft.nproc_per_node.strip() or None,
        kind=cast("Any", kind) if target is not None else None,
        target=target,
        args=part("args", _arguments, ()),
        env=part("env", lambda text: _variables(text, environ), {}),
        name=draft.name.strip() or None,
        working_dir=draft.working_dir.strip() or None,
        max_restarts=part("max_restarts", _restarts, None),
        on=part("on", profiles.node_names, ()),
        without=part("without", profiles.node_names, ()),
        spares=draft.spares,
    )
    return asked, problems


def _arguments(text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        why = "a quote is not closed" if "quotation" in str(error) else "it ends with a backslash"
        raise ValueError(why) from error


def _restarts(text: str) -> int | None:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ValueError(f"{text!r} is no number of restarts: 0 or more")
    return int(text)


def _variables(text: str, environ: Mapping[str, str] | None) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        item = line.strip()
        if not item or item.startswith("#"):
            continue
        try:
            found.update(profiles.parse_env([item], environ))
        except UsageError as error:
            where = f"line {number}: " if "\n" in text else ""
            message = error.message.removeprefix("-e ")
            raise UsageError(where + message, "NAME=value, one on each line") from error
    return found


def masked(line: str) -> str:
    """A K=V line as it may be seen: as many stars as the value of a secret has characters."""
    name, given, value = line.partition("=")
    if given and profiles.looks_secret(name.strip()):
        return name + given + "*" * len(value)
    return line


def of_job(job: Job) -> Draft:
    """What a job tells of its own request where nothing else is known of it."""
    first, *rest = job.command or ("",)
    kind = "script" if first.endswith(".py") else "command"
    if first == "-m" and rest:
        kind, (first, *rest) = "module", rest
    count = f"{job.min_nodes}:{job.max_nodes}"
    return Draft(
        cluster=job.cluster,
        launcher=job.launcher,
        nodes=str(job.min_nodes) if job.min_nodes == job.max_nodes else count,
        kind=kind,
        target=first,
        args=shlex.join(rest),
        name=job.name,
        max_restarts=str(job.max_restarts),
    )


def default_folder() -> str:
    """Where a job without a profile runs."""
    return os.getcwd()
