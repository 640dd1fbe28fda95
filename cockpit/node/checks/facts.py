"""The operation `facts`: what a launch needs to know of this node.

Runs in a thread. Starts the job's Python once, with a time limit, to ask for its version and
torch's; torch itself is not imported, which would take seconds.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from typing import Any, NamedTuple

from cockpit.node.arguments import Arguments
from cockpit.node.checks import gpulook
from cockpit.node.failures import RequestFailedError
from cockpit.node.sensors import gpus, host
from cockpit.node.statedir import Node

DEFAULT_PYTHON = "python3"
PYTHON_TIMEOUT = 30.0
"""Seconds; a first start from a loaded network file system is slow."""
REMEMBER = 10.0
PYTHON_HINT = "set `python` of this cluster in cockpit.toml to the Python of your environment"

_QUESTION = r"""
import importlib.util, json, os, re, sys
from importlib import metadata
def version(name):
    try:
        return metadata.version(name) or ""
    except Exception:
        return ""
found = {"python": "%d.%d.%d" % sys.version_info[:3], "torch": version("torch"), "cuda": "",
         "nccl": "", "nvrx": version("nvidia-resiliency-ext")}
try:
    spec = importlib.util.find_spec("torch")
    with open(os.path.join(os.path.dirname(spec.origin), "version.py")) as file:
        text = file.read()
    for key, name in (("torch", "__version__"), ("cuda", "cuda")):
        said = re.search("(?m)^" + name + r"\b[^=\n]*= *['\"]([^'\"]+)", text)
        found[key] = found[key] or (said.group(1) if said else "")
except Exception:
    pass
if found["cuda"]:
    names = ["nvidia-nccl-cu%d" % number for number in (13, 12, 11)]
    found["nccl"] = next(filter(None, map(version, names)), "")
print("\n" + json.dumps(found))
"""
"""Looks into the files of torch; an import would take seconds."""


class Python(NamedTuple):
    """A Python that was found, or not: `path` is "" then and `problem` says why.

    `path` is absolute and keeps symbolic links (a virtual environment is one). With a `path` and a
    `problem` it exists but does not run.
    """

    path: str
    version: str = ""
    torch: str = ""
    nvrx: str = ""
    cuda: str = ""
    """What torch was built for, "" for a torch without CUDA."""
    nccl: str = ""
    """Of the package that torch brings along, "" where it is not one of its own."""
    problem: str = ""


_remembered: dict[str, tuple[float, Python]] = {}
"""Path -> until when (monotonic), and the answer."""


def gather(node: Node, arguments: Arguments) -> dict[str, Any]:
    """`messages.Facts` as a dictionary. FAIL "no_python" for one that is there and does not run."""
    python = inspect_python(arguments.text("python", DEFAULT_PYTHON), node.host)
    if python.path and python.problem:
        raise RequestFailedError("no_python", python.problem, PYTHON_HINT)
    count, simulated = _count_gpus(node.state_dir)
    status = os.statvfs(node.state_dir)
    return {
        "python": python.path,
        "python_version": python.version,
        "torch": python.torch,
        "gpus": count,
        "cpus": host.cpu_count(),
        "disk_free": status.f_bavail * status.f_frsize,
        "simulated": simulated,
        "nvrx": python.nvrx,
    }


def inspect_python(wanted: str, node: str) -> Python:
    """Find `wanted` (a path, `~` allowed, or a name on PATH) and ask what it is.

    A good answer is remembered for REMEMBER seconds: a start asks for facts, then for a preflight.
    """
    path = _locate(wanted)
    if not path:
        where = "" if "/" in wanted else " on the PATH"
        return Python("", problem=f"{wanted} does not exist{where} of {node}")
    known = _remembered.get(path)
    if known is None or time.monotonic() > known[0]:
        known = (time.monotonic() + REMEMBER, _ask(path, node))
        if not known[1].problem:
            _remembered[path] = known
    return known[1]


def _ask(path: str, node: str) -> Python:
    try:
        answer = subprocess.run(
            [path, "-c", _QUESTION],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd="/",
            timeout=PYTHON_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Python(path, problem=f"{path} on {node} did not start in {PYTHON_TIMEOUT:.0f} s")
    except OSError as error:
        return Python(path, problem=f"{path} on {node} cannot be run: {error.strerror}")
    try:
        found = json.loads(answer.stdout.split(b"\n")[-2])
        return Python(
            path,
            version=str(found["python"]),
            torch=str(found["torch"]),
            nvrx=str(found["nvrx"]),
            cuda=str(found["cuda"]),
            nccl=str(found["nccl"]),
        )
    except (IndexError, KeyError, TypeError, ValueError):
        last = answer.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        said = f" and says: {last}" if last else ""
        return Python(
            path, problem=f"{path} on {node} is no usable Python (exit {answer.returncode}){said}"
        )


def _locate(wanted: str) -> str:
    if "/" not in wanted:
        return os.path.abspath(found) if (found := shutil.which(wanted)) else ""
    path = os.path.expanduser(wanted)
    usable = os.path.isabs(path) and os.path.isfile(path) and os.access(path, os.X_OK)
    return path if usable else ""


def _count_gpus(state_dir: str) -> tuple[int, bool]:
    """(GPUs, simulated). A driver that hangs is believed what it announced when it was loaded."""
    seen = gpulook.look(state_dir)
    if seen.sample is None:
        return gpus.count_from_driver(), False
    return len(seen.sample.gpus), seen.simulated
