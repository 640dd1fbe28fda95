"""Stacks of a Python process by py-spy, where the node has it: no help of the process is needed.

Called by `stacks` for processes without cockpit's signal handler. py-spy only reads the memory of
the process (`--nonblocking`: it is never stopped), which the kernel allows for one's own children
and, unless it was told otherwise (`kernel.yama.ptrace_scope`), for all one's own processes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile

from cockpit.node.probing import dumps

TYPE_CHECKING = False  # typing itself would be a tenth of an agent's start
if TYPE_CHECKING:
    from typing import IO, Any

TRIES = 5
"""A process that runs changes under the reader's eyes; a look that fails is repeated."""
_MAX_OUTPUT = 16 * 1024 * 1024
_FORBIDDEN = ("permission", "not permitted")


def find(pid: int) -> str:
    """The path of py-spy for process `pid`: beside its Python, on its PATH or ours; "" for none."""
    folders = [os.path.dirname(_first(f"/proc/{pid}/cmdline"))]
    for item in _read(f"/proc/{pid}/environ").split(b"\0"):
        if item.startswith(b"PATH="):
            folders += os.fsdecode(item[5:]).split(os.pathsep)
    folders += os.environ.get("PATH", os.defpath).split(os.pathsep)
    # Only absolute ones: the working directory of a job may hold anything.
    path = os.pathsep.join(folder for folder in folders if folder.startswith("/"))
    return shutil.which("py-spy", path=path) or ""


class Dump:
    """One look at one process, under way. `poll` never waits; `close` ends it in any case."""

    def __init__(self, program: str, pid: int) -> None:
        self._argv = [program, "dump", "--nonblocking", "--json", "--pid", str(pid)]
        self._tries = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._out = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        self._err = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        self.threads: list[dict[str, Any]] = []
        self.error = ""

    def poll(self) -> bool:
        """True when it is over: `threads` is filled, or `error` says why not."""
        if self._process is None:
            return self._start()
        if self._process.poll() is None:
            return False
        self._process = None
        try:
            self.threads = dumps.pyspy(_content(self._out))
        except ValueError:
            # A supervisor reaps all children, so the exit code may be unknown: the output counts.
            self.error = _reason(_content(self._err))
            hopeless = any(word in self.error.lower() for word in _FORBIDDEN)
            return hopeless or self._tries >= TRIES
        self.error = "" if self.threads else "py-spy found no thread"
        return True

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        self._out.close()
        self._err.close()

    def _start(self) -> bool:
        self._tries += 1
        for file in (self._out, self._err):
            file.seek(0)
            file.truncate()
        environ = {name: v for name, v in os.environ.items() if not name.startswith("COCKPIT_")}
        try:
            self._process = subprocess.Popen(
                self._argv,
                stdin=subprocess.DEVNULL,
                stdout=self._out,
                stderr=self._err,
                env={**environ, "RUST_BACKTRACE": "0"},
            )
        except OSError as error:
            self.error = f"{self._argv[0]} cannot be run: {error.strerror}"
            return True
        return False


def _reason(data: bytes) -> str:
    """Why py-spy failed, in one line."""
    text = data.decode("utf-8", "replace")
    line = next((line.strip() for line in text.split("\n") if line.strip()), "it said nothing")
    if any(word in text.lower() for word in _FORBIDDEN):
        return "py-spy: permission denied by the kernel (see kernel.yama.ptrace_scope on the node)"
    return f"py-spy: {line[: dumps.MAX_TEXT]}"


def _content(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read(_MAX_OUTPUT)


def _first(path: str) -> str:
    return os.fsdecode(_read(path).split(b"\0")[0])


def _read(path: str) -> bytes:
    """b"" for what is gone or not ours to read."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""
