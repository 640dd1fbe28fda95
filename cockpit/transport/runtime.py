"""The node runtime: the modules that run on nodes, packed for sending.

Built from the installed package, once per process, in memory. Two controllers with the same
cockpit and the same pynvml build the same digest, so a node keeps one copy for both. The node
side is `cockpit.node.entry` and `boot`; transports call `node_runtime`. Nothing is written here.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.util
import json
import threading
import zlib
from collections.abc import Mapping
from pathlib import Path

import cockpit
from cockpit.errors import BootstrapError

ENTRY = "cockpit/node/entry.py"
BOOT = "cockpit/node/boot.py"
_PACKAGES = ("protocol", "node")
_lock = threading.Lock()


@dataclasses.dataclass(frozen=True)
class Runtime:
    """`payload` is zlib over a JSON object {relative path: source text}, sorted by path."""

    digest: str
    payload: bytes
    entry: bytes
    """Source of `cockpit.node.entry`, which looks for the runtime on the node."""
    boot: bytes
    """Source of `cockpit.node.boot`, which unpacks the payload there."""


def node_runtime() -> Runtime:
    """The runtime of this cockpit. Reads files the first time: call it off the event loop.

    Raises BootstrapError when pynvml or the package's sources are not there as files.
    """
    with _lock:
        return _build()


@functools.cache
def _build() -> Runtime:
    files = _collect()
    return Runtime(
        digest=digest_of(files),
        payload=pack(files),
        entry=files[ENTRY].encode(),
        boot=files[BOOT].encode(),
    )


def digest_of(files: Mapping[str, str]) -> str:
    """sha256 over path and content of every file, sorted by path; lengths keep them apart."""
    digest = hashlib.sha256()
    for path in sorted(files):
        data = files[path].encode()
        digest.update(f"{path}\0{len(data)}\0".encode())
        digest.update(data)
    return digest.hexdigest()


def pack(files: Mapping[str, str]) -> bytes:
    """`files` as `Runtime.payload`."""
    text = json.dumps(dict(sorted(files.items())), separators=(",", ":"))
    return zlib.compress(text.encode(), 9)


def _collect() -> dict[str, str]:
    root = Path(cockpit.__file__).parent
    sources = {"cockpit/__init__.py": root / "__init__.py"}
    for package in _PACKAGES:
        for path in (root / package).rglob("*.py"):
            sources[f"cockpit/{path.relative_to(root).as_posix()}"] = path
    pynvml = importlib.util.find_spec("pynvml")
    if pynvml is None or pynvml.origin is None:
        raise BootstrapError(
            "the node runtime cannot be built: the module pynvml is missing here",
            "install nvidia-ml-py beside cockpit",
        )
    sources["pynvml.py"] = Path(pynvml.origin)
    try:
        return {name: path.read_bytes().decode() for name, path in sources.items()}
    except OSError as error:
        raise BootstrapError(
            f"the node runtime cannot be built: {error}",
            "cockpit must be installed as plain files, not inside a zip",
        ) from error
