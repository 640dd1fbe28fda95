"""Checks of the preflight: the job's Python and what it can import.

Called by `preflight` in a thread. Imports torch only when asked to, in a process of its own.
"""

from __future__ import annotations

import re
import subprocess

from cockpit.node.checks import facts
from cockpit.node.checks.checks import Check, check
from cockpit.node.statedir import Node
from cockpit.node.tether import tethered

OLDEST_PYTHON = (3, 9)
IMPORT_TIMEOUT = 120.0
"""Seconds for an import of torch; from a cold network file system it takes tens of them."""
_TORCH_HINT = f"install torch there, or {facts.PYTHON_HINT}"
_NVRX_HINT = f"install nvidia-resiliency-ext there, or {facts.PYTHON_HINT}"
_PACKAGES = ("torch", "cuda", "nccl", "nvrx")
_NCCL = (
    "import torch; v = torch.cuda.nccl.version();"
    " print('\\n' + ('.'.join(map(str, v)) if isinstance(v, tuple) else str(v)))"
)


def interpreter(node: Node, found: facts.Python, need: tuple[str, ...]) -> list[Check]:
    """The Python itself, and the packages that the launcher `need`s: "torch", "nvrx"."""
    if found.problem:
        return [check("python", "crit", found.problem, facts.PYTHON_HINT)]
    version = tuple(int(part) for part in re.findall(r"\d+", found.version)[:2])
    if version < OLDEST_PYTHON:
        message = f"{found.path} is Python {found.version}; 3.9 is needed"
        return [check("python", "crit", message, facts.PYTHON_HINT)]
    checks = [check("python", "ok", f"{found.path} is Python {found.version}")]
    if found.torch:
        built = f", built for CUDA {found.cuda}" if found.cuda else ""
        checks.append(check("torch", "ok", f"torch {found.torch}{built}"))
    elif "torch" in need:
        message = f"{found.path} on {node.host} has no torch"
        checks.append(check("torch", "crit", message, _TORCH_HINT))
    if "nvrx" in need and not found.nvrx:
        message = f"{found.path} on {node.host} has no nvidia-resiliency-ext"
        checks.append(check("nvrx", "crit", message, _NVRX_HINT))
    return checks


def cuda(found: facts.Python, gpus: int) -> list[Check]:
    """A torch that cannot use the GPUs which are there. `gpus` counts real ones."""
    if not gpus or not found.torch:
        return []
    if found.cuda or "rocm" in found.torch:
        return [check("cuda", "ok", f"CUDA {found.cuda}" if found.cuda else found.torch)]
    message = f"torch {found.torch} cannot use CUDA, and there are {gpus} GPUs"
    return [check("cuda", "warn", message, "install a torch that is built for CUDA")]


def versions(found: facts.Python, nccl: str) -> dict[str, str | None]:
    """What must be equal on all nodes: "" where there is none, None where that is not known."""
    if found.problem:
        # One that is there and does not run may have everything.
        return {"python": None if found.path else "", **dict.fromkeys(_PACKAGES)}
    return {
        "python": found.version,
        "torch": found.torch,
        "cuda": found.cuda if found.torch else None,
        "nccl": nccl or None,
        "nvrx": found.nvrx,
    }


def nccl(found: facts.Python) -> tuple[str, list[Check]]:
    """NCCL's version as torch sees it, by importing torch. Takes seconds."""
    argv = [found.path, "-c", _NCCL]
    try:
        done = subprocess.run(
            tethered(argv),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd="/",
            timeout=IMPORT_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        message = f"importing torch took longer than {IMPORT_TIMEOUT:.0f} s"
        return "", [check("nccl", "unknown", message, "is its file system slow?")]
    except OSError as error:
        message = f"{found.path} cannot be run: {error.strerror}"
        return "", [check("nccl", "unknown", message)]
    last = (done.stdout if done.returncode == 0 else done.stderr).decode("utf-8", "replace")
    last = last.strip().rpartition("\n")[2]
    if done.returncode or not re.fullmatch(r"\d+(\.\d+)*", last):
        message = f"importing torch: {last or f'exit {done.returncode}'}"
        level = "crit" if done.returncode else "unknown"
        return "", [check("nccl", level, message, f"`{found.path} -c 'import torch'` there")]
    return last, [check("nccl", "ok", f"NCCL {last}")]
