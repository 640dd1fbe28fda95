"""The code of a job for nodes that do not have it yet: packed again here, or fetched from a node.

A job's code never changes, while the working directory that it was packed from may have: only an
archive with the job's own digest counts, from wherever it comes. Called by a restart on other
nodes; leaves nothing behind on this machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import msgspec

from cockpit import packaging
from cockpit.controller.tracking import TrackedJob
from cockpit.errors import CockpitError, PackagingError
from cockpit.executors.direct import Archive, Say
from cockpit.protocol.records import CodeRef
from cockpit.transport.link import NodeLink

TIMEOUT = 60.0
_CHUNK = 256 * 1024


class Fetched(msgspec.Struct, frozen=True):
    """An archive that a node has given back; satisfies `Archive`."""

    digest: str
    size: int
    path: str

    def chunks(self) -> Iterator[bytes]:
        """Blocks on disk: to be called off the event loop."""
        with open(self.path, "rb") as file:
            while data := file.read(_CHUNK):
                yield data


@contextlib.asynccontextmanager
async def carried(
    tracked: TrackedJob, newcomers: Sequence[NodeLink], *, by: str, say: Say
) -> AsyncIterator[Archive | None]:
    """The job's code as an archive while it is needed; None where all `newcomers` have it.

    Raises CockpitError when it cannot be had any more.
    """
    code = tracked.record.code
    if code is None or not await _lacking(newcomers, code):
        yield None
        return
    local = await _pack_again(tracked, code, by)
    if local is not None:
        yield local
        return
    folder = await asyncio.to_thread(tempfile.mkdtemp, prefix="cockpit-code-")
    try:
        yield await _fetch(tracked, code, os.path.join(folder, "code.tar"), say)
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


async def _lacking(links: Sequence[NodeLink], code: CodeRef) -> bool:
    answers = await asyncio.gather(
        *(link.request("has_code", timeout=TIMEOUT, digest=code.digest) for link in links)
    )
    return not all(answer["present"] for answer in answers)


async def _pack_again(tracked: TrackedJob, code: CodeRef, by: str) -> Archive | None:
    """The working directory, where it is ours and is what it was; else None."""
    record = tracked.record
    if record.created_by != by:
        return None  # that path may be anything on this machine
    try:
        package = await asyncio.to_thread(packaging.pack, Path(record.working_dir))
    except PackagingError:
        return None
    return package if package.digest == code.digest else None


async def _fetch(tracked: TrackedJob, code: CodeRef, path: str, say: Say) -> Archive:
    """From the first node of the job that still has it. Raises CockpitError."""
    refused: dict[str, str] = {}
    for seat in sorted(tracked.seats.values(), key=lambda seat: (-seat.attempt, seat.node_rank)):
        name = seat.key.node
        if name in refused:
            continue
        try:
            if await _download(seat.link, code, path):
                say(f"the code comes from {name}: the working directory is not what it was")
                return Fetched(code.digest, code.size, path)
            refused[name] = "what it has is damaged"
        except CockpitError as error:
            refused[name] = error.message
    reasons = "; ".join(f"{name}: {why}" for name, why in refused.items())
    raise CockpitError(
        f"the code of job {tracked.record.name} cannot be brought to other nodes: no node gives it"
        f" back ({reasons or 'none is known'}), and {tracked.record.working_dir} has changed or is"
        " not on this machine",
        "restart it on nodes that had a part in it, or run the job anew",
    )


async def _download(link: NodeLink, code: CodeRef, path: str) -> bool:
    """Whether the whole archive is at `path` now."""
    digest, size = hashlib.sha256(), 0
    with await asyncio.to_thread(open, path, "wb", 0) as file:
        async for chunk in link.download(code.digest):
            size += len(chunk)
            if size > code.size:
                return False
            digest.update(chunk)
            await asyncio.to_thread(file.write, chunk)
    return size == code.size and digest.hexdigest() == code.digest
