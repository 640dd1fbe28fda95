"""Checked documents into one Config: the built-in profiles, and what concerns several keys at once.

Called by `loading` with the documents, nearest first. Problems go to the document that holds the
key in question.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import msgspec

from cockpit.profiles.checking import KEYS, SECTIONS, names
from cockpit.profiles.combinations import check_launcher
from cockpit.profiles.document import Document
from cockpit.profiles.keys import dotted
from cockpit.profiles.merging import BY_ENTRY, WHAT, Profile, Setting, merge, merge_single
from cockpit.profiles.rules import absolute, node_count
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
from cockpit.profiles.values import INVALID

BUILT_IN_CLUSTER = "local"
BUILT_IN_LAUNCHER = "torchrun"

_Record = TypeVar("_Record", bound=msgspec.Struct)


def built_in() -> Document:
    """The profiles that are there without any file, as the farthest of all documents."""
    return Document(
        file="",
        base="",
        sections={
            "clusters": {BUILT_IN_CLUSTER: {"executor": "local", **_this_machine()}},
            "launchers": {BUILT_IN_LAUNCHER: {"kind": "torchrun"}},
        },
    )


def _this_machine() -> dict[str, Any]:
    """What a cluster with the executor "local" has unless it says otherwise."""
    return {
        "nodes": ((0, NodeSpec(name="local", host="localhost")),),
        "python": sys.executable or "python3",
        "sync": False,
    }


def assemble(documents: Sequence[Document]) -> Config | None:
    """All profiles of the documents, nearest first; None if any of them holds an error.

    Problems that only show in the whole are added to the documents. Where a file could not be
    read, nothing is said about what is missing: it may be in there.
    """
    clusters = merge("clusters", documents)
    launchers = merge("launchers", documents)
    jobs = merge("jobs", documents)
    rules = merge("rules", documents)
    screen, notify = merge_single("screen", documents), merge_single("notify", documents)
    keys = merge_single(KEYS, documents)
    unread = any(document.unread for document in documents)
    for profile in clusters.values():
        _check_cluster(profile, documents, complete=not unread)
    for profile in launchers.values():
        check_launcher(profile)
    for profile in rules.values():
        _check_rule(profile, documents, complete=not unread)
    for profile in jobs.values():
        _check_job(profile, documents, complete=not unread)
        if not unread:
            _check_reference(profile, "cluster", clusters)
            _check_reference(profile, "launcher", launchers)
            _check_size(profile, clusters, documents)
    if not unread:
        _check_shown(screen, clusters)
    problems = [problem for document in documents for problem in document.problems]
    if any(problem.level == "error" for problem in problems):
        return None
    sources: dict[str, Source] = {}
    return Config(
        clusters={name: _build(Cluster, profile, sources) for name, profile in clusters.items()},
        launchers={name: _build(Launcher, profile, sources) for name, profile in launchers.items()},
        jobs={name: _build(JobProfile, profile, sources) for name, profile in jobs.items()},
        rules={name: _build(Rule, profile, sources) for name, profile in rules.items()},
        screen=_build(Screen, screen, sources),
        notify=_build(Notify, notify, sources),
        keys={action: setting.value for action, setting in keys.settings.items()},
        sources={
            **sources,
            **{dotted((KEYS, name)): setting.source for name, setting in keys.settings.items()},
        },
        files=tuple(document.file for document in documents if document.file),
        warnings=tuple(problems),
    )


def _build(record: type[_Record], profile: Profile, sources: dict[str, Source]) -> _Record:
    """A record from a profile without errors, its sources noted key by key."""
    values: dict[str, Any] = {}
    if record in SECTIONS.values():
        values["name"] = profile.path[1]
    for key in names(record):
        path = (*profile.path, key)
        if key in BY_ENTRY:
            entries = profile.entries.get(key, {})
            values[key] = {name: setting.value for name, setting in entries.items()}
            for name, setting in entries.items():
                sources[dotted((*path, name))] = setting.source
            first = next(iter(entries.values()), None)
            sources[dotted(path)] = first.document.source(path) if first else Source()
            continue
        found = profile.settings.get(key)
        sources[dotted(path)] = found.source if found else Source()
        if found is None:
            continue
        placed = record is Cluster and key in ("nodes", "spares")
        values[key] = tuple(node for _, node in found.value) if placed else found.value
    return record(**values)


def _check_cluster(profile: Profile, documents: Sequence[Document], *, complete: bool) -> None:
    executor = profile.settings.get("executor")
    local = executor is not None and executor.value == "local"
    if local:
        assert executor is not None
        for key, value in _this_machine().items():
            default = Setting(value, built_in(), (*profile.path, key))
            profile.settings.setdefault(key, default)
    elif (
        executor is not None
        and executor.value is not INVALID
        and profile.path[1] == BUILT_IN_CLUSTER
    ):
        executor.report(
            f"the cluster {BUILT_IN_CLUSTER} is this machine, not {executor.value!r}",
            "give the other cluster a name of its own",
        )
    nodes = profile.settings.get("nodes")
    sound = complete and _sound(profile, documents)
    if sound and nodes is not None and not nodes.value:
        nodes.report("the cluster has no nodes", 'write ["gpu[01-04].lab"]')
    elif sound and nodes is None:
        profile.report("the cluster has no nodes", 'write nodes = ["gpu[01-04].lab"]')
    _check_twins(profile, same_host=local)
    _check_env_against_secrets(profile)


def _check_twins(profile: Profile, *, same_host: bool) -> None:
    """No node twice, by name or (unless `same_host` is fine) by where SSH goes."""
    seen: set[tuple[str, str, int | None]] = set()
    for key in ("nodes", "spares"):
        setting = profile.settings.get(key)
        if setting is None or setting.value is INVALID:
            continue
        for index, node in setting.value:
            host = ("host", node.host.lower(), node.port)
            name = ("name", node.name, None)
            if host in seen and not same_host:
                setting.report(
                    f"the host {node.host} is in the cluster twice", "remove one", item=index
                )
            elif name in seen:
                setting.report(
                    f"two nodes are called {node.name}", "give each its own name", item=index
                )
            seen |= {host, name}


def _check_job(profile: Profile, documents: Sequence[Document], *, complete: bool) -> None:
    what = [key for key in WHAT if key in profile.settings]
    if len(what) > 1:
        profile.settings[what[1]].report(
            f"the job has {' and '.join(what)}, and only one of them can be run", "keep one"
        )
    elif not what and complete and _sound(profile, documents):
        profile.report("the job does not say what to run", f"write one of {', '.join(WHAT)}")
    _check_env_against_secrets(profile)
    # An unset working directory is the folder of the file that says what to run.
    document = profile.settings[what[0]].document if what else profile.document
    default = Setting(absolute(".", document.base), built_in(), (*profile.path, "working_dir"))
    profile.settings.setdefault("working_dir", default)


def _check_rule(profile: Profile, documents: Sequence[Document], *, complete: bool) -> None:
    missing = [key for key in ("pattern", "cause") if key not in profile.settings]
    if missing and complete and _sound(profile, documents):
        profile.report(
            f"the rule does not say its {' and '.join(missing)}",
            "write pattern = 'what a failed rank says' and cause = \"what it means\"",
        )


def _check_env_against_secrets(profile: Profile) -> None:
    secrets = profile.entries.get("secrets", {})
    for name, setting in profile.entries.get("env", {}).items():
        if name in secrets:
            setting.report(f"{name} is in env and in secrets", "keep one of them")


def _check_shown(screen: Profile, clusters: Iterable[str]) -> None:
    setting = screen.settings.get("clusters")
    for index, name in enumerate(setting.value if setting and setting.value is not INVALID else ()):
        if name not in clusters:
            assert setting is not None
            setting.report(
                f"there is no cluster called {name!r}", _instead(name, clusters), item=index
            )


def _check_reference(profile: Profile, key: str, known: Iterable[str]) -> None:
    setting = profile.settings.get(key)
    if setting is None or setting.value is INVALID or setting.value in known:
        return
    setting.report(f"there is no {key} called {setting.value!r}", _instead(setting.value, known))


def _instead(name: str, known: Iterable[str]) -> str:
    """A hint for a name that nothing has."""
    import difflib

    near = difflib.get_close_matches(name, list(known), 1)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(known))}"


def _check_size(
    profile: Profile, clusters: dict[str, Profile], documents: Sequence[Document]
) -> None:
    """A job larger than its cluster is only a warning: -c may send it elsewhere."""
    count = profile.settings.get("nodes")
    cluster = clusters.get(profile.value("cluster", BUILT_IN_CLUSTER))
    if count is None or count.value is INVALID or cluster is None:
        return
    if not _sound(cluster, documents):
        return
    most, nodes = node_count(count.value)[1], cluster.value("nodes", ())
    if most > len(nodes):
        path = count.path
        count.document.report(
            path,
            f"{dotted(path)}: the job asks for {most} nodes, "
            f"the cluster {cluster.path[1]} has {len(nodes)}",
            level="warning",
        )


def _sound(profile: Profile, documents: Sequence[Document]) -> bool:
    """Whether nothing is wrong with the profile itself; else something missing is a follow-up."""
    key = dotted(profile.path)
    return not any(
        problem.level == "error" and f"{problem.key}.".startswith(f"{key}.")
        for document in documents
        for problem in document.problems
    )
