"""Profiles and what was typed, resolved into one request: what shall run where, and how.

Called by the faces before a launch; pure but for a look whether the named script and folder
are there, and for reading the file of a launcher's `cfg_path`. What was typed beats a profile, and
None means "not typed".
"""

from __future__ import annotations

import contextlib
import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from cockpit.errors import UsageError
from cockpit.profiles import environment, rules
from cockpit.profiles.checking import MAX_NAME
from cockpit.profiles.request import Request
from cockpit.profiles.types import Cluster, Config, JobProfile, Launcher, NodeSpec
from cockpit.protocol.secretref import SecretRef
from cockpit.text import clean, count_of

_T = TypeVar("_T")
_MAX_CFG = 256 * 1024


def resolve(
    config: Config,
    *,
    cluster: str | None = None,
    launcher: str | None = None,
    job: str | None = None,
    nodes: int | str | None = None,
    nproc_per_node: int | str | None = None,
    name: str | None = None,
    script: str | None = None,
    module: str | None = None,
    command: Sequence[str] | None = None,
    args: Sequence[str] | None = None,
    env: Mapping[str, str] | None = None,
    secrets: Mapping[str, SecretRef] | None = None,
    working_dir: str | os.PathLike[str] | None = None,
    max_restarts: int | None = None,
    on: Sequence[str] = (),
    without: Sequence[str] = (),
    spares: bool = False,
    cwd: str | os.PathLike[str] | None = None,
) -> Request:
    """The request that `config` and the typed values make together.

    A typed script, module or command replaces the profile's together with its arguments. Variables
    merge: cluster < launcher < job < `env`. A typed variable that a profile calls a secret, or
    whose name looks like one, becomes (or stays) an entry of `secrets`; hand the same `env` to
    whoever fetches the secrets, as values that need no fetching. `on` names the only nodes that may
    take part (all of them do unless `nodes` says how many), `without` those that shall not; with
    `spares` the cluster's spares may, behind its nodes. `cwd` (default: the current folder) is
    where a typed `working_dir` starts from and where a job without profile runs.

    Raises UsageError for an unknown name, nothing or too much to run, impossible counts, more
    nodes than the cluster has, or a script, folder or `cfg_path` that is not there; its `about` is
    the name of the argument.
    """
    here = os.path.abspath(os.fspath(cwd) if cwd is not None else ".")
    with _about("job"):
        profile = _named(config.jobs, job, "job profile") if job is not None else None
    base = profile or JobProfile(name="", working_dir=here)
    with _about("cluster"):
        cluster_name = base.cluster if cluster is None else cluster
        chosen = _named(config.clusters, cluster_name, "cluster")
    with _about("launcher"):
        launcher_name = base.launcher if launcher is None else launcher
        starter = _named(config.launchers, launcher_name, "launcher")
    candidates = _candidates(chosen, on, without, spares=spares)
    with _about("nodes"):
        wanted = nodes if nodes is not None else len(on) if on else base.nodes
        low, high = _node_counts(wanted, chosen, len(candidates))
    on_this_machine = chosen.sync or chosen.executor == "local"
    folder = base.working_dir
    with _about("working_dir"):
        if working_dir is not None:
            folder = rules.absolute(os.fspath(working_dir), here)
        if on_this_machine and not os.path.isdir(folder):
            raise UsageError(f"the working directory {folder} is not there", "see --working-dir")
    typed = (script, module, None if command is None else tuple(command))
    what = typed if any(part is not None for part in typed) else (
        base.script, base.module, base.command
    )  # fmt: skip
    with _about("target"):
        script, module, program = _one_of(*what)
        if script is not None:
            origin = here if what is typed else folder
            script = _script(script, folder, origin, relative=chosen.sync, look=on_this_machine)
    with _about("args"):
        if args is None:
            args = () if what is typed else base.args
        if any("\0" in argument for argument in args):
            raise UsageError("an argument holds NUL, which no argument can")
    with _about("env"):
        variables, references = _environment(chosen, starter, base, env or {}, secrets or {})
    with _about("max_restarts"):
        restarts = max_restarts if max_restarts is not None else base.max_restarts
        if restarts is not None and restarts < 0:
            raise UsageError(f"{restarts} restarts make no sense", "0 or more")
    with _about("nproc_per_node"):
        ranks = rules.process_count(
            base.nproc_per_node if nproc_per_node is None else nproc_per_node
        )
    with _about("name"):
        called = _job_name(name, job, script, module, program)
    with _about("launcher"):
        cfg = _cfg(starter)
    return Request(
        name=called,
        cluster=chosen,
        launcher=starter,
        nodes=candidates,
        min_nodes=low,
        max_nodes=high,
        nproc_per_node=ranks,
        script=script,
        module=module,
        command=program,
        args=tuple(args),
        working_dir=folder,
        env=variables,
        secrets=references,
        max_restarts=starter.max_restarts if restarts is None else restarts,
        metrics=base.metrics,
        cfg=cfg,
    )


@contextlib.contextmanager
def _about(argument: str) -> Iterator[None]:
    """Have usage errors from inside say what they are about."""
    try:
        yield
    except UsageError as error:
        error.about = error.about or argument
        raise


def _candidates(
    cluster: Cluster, on: Sequence[str], without: Sequence[str], *, spares: bool
) -> tuple[NodeSpec, ...]:
    """The nodes that may take part, in the order of the profile, spares last."""
    reserve = tuple(spec for spec in cluster.spares if spares or spec.name in on)
    every = (*cluster.nodes, *cluster.spares)
    for argument, names in (("on", on), ("without", without)):
        with _about(argument):
            for name in names:
                _named({spec.name: spec for spec in every}, name, f"node of {cluster.name}")
    return tuple(
        spec
        for spec in (*cluster.nodes, *reserve)
        if spec.name not in without and (not on or spec.name in on)
    )


def _cfg(launcher: Launcher) -> str | None:
    """The text of the launcher's `cfg_path`, which travels with the job."""
    if launcher.cfg_path is None:
        return None
    where = f"the cfg_path of launcher {launcher.name!r}, {launcher.cfg_path},"
    try:
        with open(launcher.cfg_path, "rb") as file:
            raw = file.read(_MAX_CFG + 1)
        text = raw.decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"{where} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{where} is not UTF-8 text") from error
    if len(raw) > _MAX_CFG:
        raise UsageError(f"{where} is larger than {_MAX_CFG} bytes", "is it the right file?")
    if "fault_tolerance" not in text:
        # ft_launcher would take it in silence, and use its defaults.
        raise UsageError(
            f"{where} has no section fault_tolerance", "a YAML file: fault_tolerance: {…}"
        )
    return text


def _named(known: Mapping[str, _T], name: str, what: str) -> _T:
    try:
        return known[name]
    except KeyError:
        near = difflib.get_close_matches(name, known, 1)
        there = ", ".join(sorted(known)) or "none"
        hint = f"did you mean {near[0]}?" if near else f"there are: {there}"
        raise UsageError(f"there is no {what} called {name!r}", hint) from None


def _node_counts(value: int | str, cluster: Cluster, candidates: int) -> tuple[int, int]:
    low, high = rules.node_count(value)
    if high > candidates:
        has = f"the cluster {cluster.name} has {count_of(len(cluster.nodes), 'node')}"
        if candidates != len(cluster.nodes):
            has += f", of which {candidates} may take part"
        raise UsageError(
            f"{high} nodes were asked for, and {has}",
            "ask for fewer with --nodes, or choose another cluster with -c",
        )
    return low, high


def _one_of(
    script: str | None, module: str | None, command: tuple[str, ...] | None
) -> tuple[str | None, str | None, tuple[str, ...] | None]:
    given = sum(part is not None for part in (script, module, command))
    if given != 1:
        raise UsageError(
            "there is nothing to run" if not given else "there is more than one thing to run",
            "give one script, one -m MODULE, or one --no-python COMMAND",
        )
    if script is not None and (not script or "\0" in script):
        raise UsageError(f"{script!r} is no script", "give the path of a Python file")
    return (
        script,
        None if module is None else rules.module(module),
        None if command is None else rules.program(command),
    )


def _script(script: str, folder: str, origin: str, *, relative: bool, look: bool) -> str:
    """The script as the nodes find it: relative to the working directory where it lies inside.

    A relative path is looked for in the working directory first and then in `origin`.
    """
    if not look:
        return script
    for start in (folder, origin):
        path = os.path.normpath(os.path.join(start, os.path.expanduser(script)))
        if os.path.isfile(path):
            break
    else:
        if os.path.isabs(script) and relative:
            return script  # The nodes may have it where this machine has not.
        raise UsageError(
            f"the script {script} is not in {folder}", "paths start from the working directory"
        )
    inside = os.path.relpath(path, folder)
    if not inside.startswith(os.pardir + os.sep):
        # "./" keeps Python from taking a name with a leading dash as an option.
        return os.path.join(os.curdir, inside) if inside.startswith("-") else inside
    if relative and not os.path.isabs(script):
        raise UsageError(
            f"the script {script} is outside of the working directory {folder}",
            "only that folder travels to the nodes: set --working-dir to one that holds the script",
        )
    return path if not relative else script


def _environment(
    cluster: Cluster,
    launcher: Launcher,
    job: JobProfile,
    typed: Mapping[str, str],
    typed_secrets: Mapping[str, SecretRef],
) -> tuple[dict[str, str], dict[str, SecretRef]]:
    """Variables and secrets, each name in one of the two: where the last layer has put it."""
    variables: dict[str, str] = {}
    secrets: dict[str, SecretRef] = {}
    layers: tuple[tuple[Mapping[str, str], Mapping[str, SecretRef]], ...] = (
        (cluster.env, cluster.secrets),
        (launcher.env, {}),
        (job.env, job.secrets),
        ({}, typed_secrets),
    )
    for env, references in layers:
        for name in env:
            secrets.pop(name, None)
        for name in references:
            variables.pop(name, None)
        variables.update(env)
        secrets.update(references)
    for name, value in typed.items():
        environment.check_name(name)
        if name in secrets or environment.looks_secret(name):
            secrets.setdefault(name, SecretRef(env=name))
            variables.pop(name, None)
        else:
            variables[name] = value
    return variables, secrets


def _job_name(
    typed: str | None,
    job: str | None,
    script: str | None,
    module: str | None,
    command: tuple[str, ...] | None,
) -> str:
    if typed is not None:
        name = clean(typed).strip()[:MAX_NAME].rstrip()
        if not name:
            raise UsageError(f"{typed!r} leaves nothing for a job's name", "use some letters")
        return name
    if job is not None:
        return job
    if module is not None:
        text = module.removesuffix(".__main__").rpartition(".")[2]
    else:
        text = Path(script if script is not None else (command or ("",))[0]).stem
    return clean(text).strip()[:MAX_NAME].rstrip() or "job"
