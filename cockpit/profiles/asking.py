"""What a person asks to run, in so many words, and the request that is made of it.

The command line and the launch form both say what was typed as one `Asked`; what a profile adds
and how words combine is decided here, once.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from typing import Any, Literal, NamedTuple

import msgspec

from cockpit.errors import UsageError
from cockpit.profiles.environment import looks_secret
from cockpit.profiles.hosts import expand_hosts
from cockpit.profiles.request import Request
from cockpit.profiles.resolving import resolve
from cockpit.profiles.types import Config
from cockpit.protocol.secretref import SecretRef

Kind = Literal["script", "module", "command"]


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What was typed; None and empty is "not typed". As the arguments of `resolve`, and:"""

    job: str | None = None
    cluster: str | None = None
    launcher: str | None = None
    nodes: int | str | None = None
    nproc_per_node: int | str | None = None
    kind: Kind | None = None
    """What `target` is; without it a script, or with a job profile one more argument."""
    target: str | None = None
    """The script, module or program. With a job profile and a kind it replaces what that runs."""
    args: tuple[str, ...] = ()
    """Arguments; without a target of their own they come behind those of the job profile."""
    env: dict[str, str] = {}
    name: str | None = None
    working_dir: str | None = None
    max_restarts: int | None = None
    on: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    spares: bool = False
    preflight: bool = True


class Answer(NamedTuple):
    """`given`: values of secrets that were typed; nothing else remembers them."""

    request: Request
    given: dict[str, str]


def ask(config: Config, asked: Asked) -> Answer:
    """The request for what was asked. Looks at the disk as `resolve` does; raises UsageError."""
    request = resolve(
        config,
        cluster=asked.cluster,
        launcher=asked.launcher,
        job=asked.job,
        nodes=asked.nodes,
        nproc_per_node=asked.nproc_per_node,
        name=asked.name,
        env=asked.env,
        working_dir=asked.working_dir,
        max_restarts=asked.max_restarts,
        on=asked.on,
        without=asked.without,
        spares=asked.spares,
        **_what(config, asked),
    )
    given = {name: asked.env[name] for name in request.secrets if name in asked.env}
    return Answer(msgspec.structs.replace(request, preflight=asked.preflight), given)


def _what(config: Config, asked: Asked) -> dict[str, Any]:
    """What to run, as arguments of `resolve`."""
    profile = config.jobs.get(asked.job) if asked.job is not None else None
    if asked.target is None and asked.job is None:
        raise UsageError(
            "there is nothing to run", "cockpit run SCRIPT [ARGS…], or -j JOBPROFILE", "target"
        )
    if asked.kind is None and profile is not None:
        # A job profile says what to run; words after it are further arguments.
        words = () if asked.target is None else (asked.target,)
        more = (*words, *asked.args)
        return {"args": (*profile.args, *more)} if more else {}
    if asked.target is None:
        return {"args": (*profile.args, *asked.args)} if profile and asked.args else {}
    if asked.kind == "command":
        return {"command": (asked.target, *asked.args), "args": ()}
    return {asked.kind or "script": asked.target, "args": asked.args}


_NODES = re.compile(r"(?:[^\s,\[]|\[[^\]]*\]?)+")


def node_names(text: str) -> tuple[str, ...]:
    """`"gpu[01-02], gpu09"` -> gpu01, gpu02, gpu09; each once. Raises UsageError for no range."""
    names: dict[str, None] = {}
    for item in _NODES.findall(text):
        names.update(dict.fromkeys(expand_hosts(item) if "[" in item else [item]))
    return tuple(names)


def command_line(asked: Asked, secrets: Collection[str]) -> tuple[str, ...]:
    """The `cockpit run …` that asks for the same.

    Variables named in `secrets` stand without their values, which it then takes from its own
    environment.
    """
    words = ["cockpit", "run"]
    for option, value in (
        ("-j", asked.job),
        ("-c", asked.cluster),
        ("-l", asked.launcher),
        ("--nodes", asked.nodes),
        ("--nproc-per-node", asked.nproc_per_node),
        ("--on", ",".join(asked.on) or None),
        ("--without", ",".join(asked.without) or None),
        ("--name", asked.name),
        ("--working-dir", asked.working_dir),
        ("--max-restarts", asked.max_restarts),
    ):
        if value is not None:
            words += [option, str(value)]
    words += ["--spares"] if asked.spares else []
    words += [] if asked.preflight else ["--no-preflight"]
    for name, value in asked.env.items():
        words += ["-e", name if name in secrets or looks_secret(name) else f"{name}={value}"]
    kinds = {"module": "-m", "command": "--no-python", "script": "--script" if asked.job else ""}
    if asked.target is not None and asked.kind is not None and kinds[asked.kind]:
        words.append(kinds[asked.kind])
    what = [] if asked.target is None else [asked.target]
    what += asked.args
    return (*words, *(["--"] if what and what[0].startswith("-") else []), *what)


def profile_values(config: Config, asked: Asked, folder: str) -> dict[str, Any]:
    """What a job profile must say that asks for the same, for a file in `folder`.

    Values of secrets are left out: the profile takes them from the environment. Which nodes take
    part is no part of a profile. Raises UsageError.
    """
    request = ask(config, asked).request
    base = config.jobs.get(asked.job) if asked.job is not None else None
    values: dict[str, Any] = {
        "cluster": request.cluster.name,
        "launcher": request.launcher.name,
        "nodes": _count(request),
        "nproc_per_node": request.nproc_per_node,
        "script": request.script,
        "module": request.module,
        "command": list(request.command) if request.command is not None else None,
        "args": list(request.args),
        "working_dir": _seen_from(folder, request.working_dir),
        "max_restarts": asked.max_restarts if base is None else request.max_restarts,
        "env": dict(base.env) if base is not None else {},
        "secrets": {name: _reference(ref) for name, ref in (base.secrets if base else {}).items()},
        "metrics": dict(base.metrics) if base is not None else {},
    }
    for name, value in asked.env.items():
        if name in request.secrets:
            values["secrets"].setdefault(name, {"env": name})
            values["env"].pop(name, None)
        else:
            values["env"][name] = value
    return {
        key: value for key, value in values.items() if value is not None and value not in ([], {})
    }


def _count(request: Request) -> int | str:
    low, high = request.min_nodes, request.max_nodes
    return low if low == high else f"{low}:{high}"


def _reference(ref: SecretRef) -> dict[str, Any]:
    values = {"env": ref.env, "cmd": list(ref.cmd) if ref.cmd else None, "file": ref.file}
    return {key: value for key, value in values.items() if value is not None}


def _seen_from(folder: str, path: str) -> str:
    """`path` relative to `folder` where it lies inside, so that the file can travel with it."""
    inside = os.path.relpath(path, folder)
    return path if inside.split(os.sep)[0] == os.pardir else inside
