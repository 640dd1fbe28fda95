"""Per node exactly what would run, before anything does: `run --dry-run`, and the launch form.

Pure.
"""

from __future__ import annotations

import dataclasses
import shlex
from typing import Any, Protocol

from cockpit.launchers import ft
from cockpit.launchers.plan import Plan, Request
from cockpit.protocol import layout, macros
from cockpit.protocol.records import Watch
from cockpit.text import clean

MASK = "****"
FINISHED_FLAG_ENV = "FAULT_TOL_FINISHED_FLAG_FILE"
RESULTS_ENV = "JOB_RESULTS_FILE"
"""How a node tells ranks of these files, whatever `env` says."""


class PackageLike(Protocol):
    @property
    def digest(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def files(self) -> int: ...


def _environment(request: Request, plan: Plan, rank: int) -> dict[str, str]:
    """Names and values as the ranks will have them; a secret's value is masked."""
    results = request.launcher.job_results_file if plan.kind == ft.KIND else None
    files = {FINISHED_FLAG_ENV: plan.finished_flag, RESULTS_ENV: results}
    known = _known(request, rank)
    paths = {name: macros.preview(path, known) for name, path in files.items() if path}
    return {**plan.env, **dict.fromkeys(plan.secrets, MASK), **paths}


def _known(request: Request, rank: int) -> dict[str, str]:
    """The macro values that are known before a node was asked anything."""
    head, node = request.nodes[0], request.nodes[rank]
    values = {
        "node_rank": str(rank),
        "num_nodes": str(request.max_nodes),
        "is_head": "1" if rank == 0 else "0",
        "attempt": "0",
    }
    if isinstance(request.nproc_per_node, int):
        values["nproc_per_node"] = str(request.nproc_per_node)
    if head.addr:
        values["head_node_ip"] = head.addr
    if node.addr:
        values["node_addr"] = node.addr
    python = node.python or request.cluster.python
    if python:
        values["python"] = python
    if request.launcher.rdzv_port is not None:
        values["rdzv_port"] = str(request.launcher.rdzv_port)
    return values


def _files(request: Request, plan: Plan, package: PackageLike | None) -> list[str]:
    code = request.working_dir if package is None else layout.code_dir(package.digest)
    return [code, *(f"${{attempt_dir}}/{name}" for name in plan.files)]


def preview_document(request: Request, plan: Plan, package: PackageLike | None) -> dict[str, Any]:
    """The document of `run --dry-run --json`."""
    code = None
    if package is not None:
        code = {"digest": package.digest, "size": package.size, "files": package.files}
    return {
        "schema": 1,
        "plan": {
            "name": request.name,
            "cluster": request.cluster.name,
            "launcher": request.launcher.name,
            "min_nodes": request.min_nodes,
            "max_nodes": request.max_nodes,
            "nodes": [
                {
                    "node": spec.name,
                    "node_rank": rank,
                    "argv": [macros.preview(item, _known(request, rank)) for item in plan.argv],
                    "env": _environment(request, plan, rank),
                    "files": _files(request, plan, package),
                }
                for rank, spec in enumerate(request.nodes[: request.max_nodes])
            ],
            "written": {name: macros.preview(text, {}) for name, text in plan.files.items()},
            "watch": dataclasses.asdict(plan.watch),
            "finished_flag": plan.finished_flag or None,
            "code": code,
        },
    }


def preview_text(request: Request, plan: Plan, package: PackageLike | None) -> str:
    """The same for people. `${…}` is filled in on the node when the job starts."""
    lines = [f"job {request.name} on {request.cluster.name}, launcher {request.launcher.name}"]
    if package is None:
        lines.append(f"code: the nodes see {request.working_dir} themselves")
    else:
        lines.append(f"code: {package.files} files, {package.size} bytes, sha256 {package.digest}")
    lines.append(f"watch: {_watch(plan.watch)}")
    if plan.finished_flag:
        lines.append(f"finished when there is {plan.finished_flag}")
    document = preview_document(request, plan, package)
    for name, text in document["plan"]["written"].items():
        lines.append(f"file ${{attempt_dir}}/{name}:")
        lines.extend(f"  {line}" for line in text.splitlines())
    for node in document["plan"]["nodes"]:
        lines.append(f"\n{node['node']} (node rank {node['node_rank']})")
        lines.extend(f"  {name}={shlex.quote(value)}" for name, value in node["env"].items())
        lines.append("  " + " \\\n    ".join(_quote(item) for item in node["argv"]))
    return "\n".join(clean(line) for line in "\n".join(lines).split("\n"))


def _watch(watch: Watch) -> str:
    """How ranks are watched, in one line."""
    found = f"metrics {', '.join(watch.metrics)} from the logs" if watch.metrics else ""
    if not watch.instrument:
        return f"no beats{', ' + found if found else ''}"
    first = "no limit" if watch.initial_timeout is None else f"{watch.initial_timeout:g} s"
    later = "10 x the median step" if watch.timeout is None else f"{watch.timeout:g} s"
    parts = [f"first beat {first}", f"then {later}", f"at a stall {watch.on_stall}", found]
    return ", ".join(part for part in parts if part)


def _quote(item: str) -> str:
    # A macro that is open until the start is shown as it is; everything else as a shell needs it.
    return item if "${" in item and "'" not in item and " " not in item else shlex.quote(item)
