"""The code store: working directories by the digest of their archive, uploaded once.

Serves `has_code` and `put_code`. An upload is checked and unpacked beside the store and appears in
it by one rename, so a folder of the store is whole, and any number of uploads of the same code may
run at once. Nothing in the store is ever changed.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from typing import Any

from cockpit.node.agent.archives import Unpacked, unpack
from cockpit.node.agent.explain import no_space
from cockpit.node.agent.streams import Services, Stream
from cockpit.node.arguments import Arguments
from cockpit.node.failures import RequestFailedError
from cockpit.node.statedir import Node, remove_tree, sweep_temporary, temporary
from cockpit.protocol import layout

_MARGIN = 8 * 1024 * 1024
"""Bytes that an upload leaves to the jobs that run."""


def has_code(node: Node, arguments: Arguments) -> dict[str, Any]:
    return {"present": _is_present(node, arguments.digest())}


def _is_present(node: Node, digest: str) -> bool:
    return os.path.isdir(f"{node.state_dir}/{layout.code_dir(digest)}")


class PutCode(Stream):
    """One upload: REPLY, then DATA … END from the controller, then END or FAIL."""

    def __init__(self, services: Services, number: int, arguments: Arguments) -> None:
        super().__init__(services, number)
        self._digest = arguments.digest()
        self._size = arguments.integer("size")
        if self._size < 0:
            raise arguments.wrong("size", "at least 0")
        self._node = services.node
        self._hash = hashlib.sha256()
        self._received = 0
        self._fd = -1
        self._archive = ""
        self._complete = False

    def start(self) -> None:
        if _is_present(self._node, self._digest):
            self.reply_last({"present": True})
            return
        # The archive and what is unpacked from it exist side by side for a moment.
        needed = 2 * self._size + _MARGIN
        status = os.statvfs(self._node.state_dir)
        if status.f_bavail * status.f_frsize < needed:
            raise no_space(self._node.host, self._node.state_dir, needed)
        self._archive = temporary(self._node, ".tar")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._fd = os.open(self._archive, flags, 0o600)
        self.reply({"present": False})

    def data(self, payload: bytes) -> None:
        if self._complete:
            return
        self._received += len(payload)
        if self._received > self._size:
            raise self._damaged(f"more than the announced {self._size} bytes arrived")
        self._hash.update(payload)
        view = memoryview(payload)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError as error:
            raise self._translated(error) from error

    def finish(self) -> None:
        if self._complete:
            return
        if self._received != self._size:
            raise self._damaged(f"{self._received} of {self._size} bytes arrived")
        if self._hash.hexdigest() != self._digest:
            raise self._damaged(f"its sha256 is {self._hash.hexdigest()}")
        self._complete = True
        self._close_file()
        archive, self._archive = self._archive, ""  # the thread removes it
        self.services.workers.submit(
            lambda: _install(self._node, archive, self._digest), self._installed, vital=True
        )

    def _installed(self, result: Unpacked, error: Exception | None) -> None:
        if error is None:
            self.end({"files": result.files, "bytes": result.bytes})
        elif isinstance(error, OSError):
            self.fail(self._translated(error))
        else:
            self.fail(error)

    def close(self) -> None:
        if not self._complete:  # else the answer is being made
            self.end({})

    def release(self) -> None:
        self._close_file()
        if self._archive:
            with contextlib.suppress(OSError):
                os.unlink(self._archive)
            self._archive = ""

    def _close_file(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _damaged(self, what: str) -> RequestFailedError:
        return RequestFailedError(
            "bad_archive", f"the upload of code {self._digest[:12]} is damaged: {what}", "try again"
        )

    def _translated(self, error: OSError) -> Exception:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return no_space(self._node.host, self._node.state_dir, 2 * self._size)
        return error


def _install(node: Node, archive: str, digest: str) -> Unpacked:
    """Unpack a checked archive into the store; the archive is gone afterwards, come what may."""
    target = f"{node.state_dir}/{layout.code_dir(digest)}"
    fresh = temporary(node)
    try:
        result = unpack(archive, fresh)
        os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
        try:
            os.rename(fresh, target)
        except OSError as error:
            # Another upload of the same code was faster; both hold the same.
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        return result
    finally:
        for path in (archive, fresh):
            with contextlib.suppress(OSError):
                remove_tree(path)
        sweep_temporary(node)
