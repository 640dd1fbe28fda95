"""Saving what a job left on its nodes, as it lies there: journals, plans, and logs.

Only the values of secrets that are known here are hidden: in logs they are written over with
asterisks, in journals and plans the job's own words are masked and the rest stays, or it could not
be played.

`cockpit record` calls it through the Controller; `cockpit --replay` plays the folder. Names of
files come from nodes and are taken only where they are such as a node of ours gives.
"""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import msgspec

from cockpit.controller.sessions import Sessions
from cockpit.controller.tracking import Seat, TrackedJob
from cockpit.errors import CockpitError, UsageError
from cockpit.model.masking import Mask
from cockpit.protocol import layout, records

CHUNK = 4 * 1024 * 1024
"""Bytes that are asked for at once."""
AT_ONCE = 16
"""Nodes that are read at the same time."""
TIMEOUT = 60.0
"""Seconds for one chunk, or one listing."""
_WANTED = (layout.PLAN, layout.EVENTS, layout.LAUNCHER_EVENTS, layout.BEATS)
_LAUNCHER_LOG = re.compile(r"launcher\.(?:out|err)(?:\.idx)?")
_RANK_LOG = re.compile(r"\d{1,9}\.(?:out|err)(?:\.idx)?")
_GENERATION = re.compile(r"\d{1,9}")


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """What was saved. `failed`: node -> why something of it is missing."""

    files: int
    size: int
    failed: dict[str, str]


async def save(sessions: Sessions, job_id: str, folder: Path, *, logs: bool) -> Saved:
    """Write what the nodes in reach hold of a job to `folder`, which must be empty or new.

    Raises JobNotFound, UsageError for a folder that holds something, CockpitError where it cannot
    be written.
    """
    tracked = sessions.tracked(job_id)
    try:
        await asyncio.to_thread(_begin, folder, tracked.record)
    except OSError as error:
        raise CockpitError(f"cannot write {folder}: {error.strerror or error}") from error
    gate = asyncio.Semaphore(AT_ONCE)
    copies = [_Copy(seat, tracked, folder) for seat in tracked.seats.values()]
    failed: dict[str, str] = {}

    async def one(copy: _Copy) -> None:
        async with gate:
            try:
                await copy.run(logs=logs)
            except CockpitError as error:
                failed[copy.node] = error.message
            except OSError as error:
                failed[copy.node] = f"cannot write {folder}: {error.strerror or error}"

    await asyncio.gather(*(one(copy) for copy in copies))
    return Saved(
        files=sum(copy.files for copy in copies),
        size=sum(copy.size for copy in copies),
        failed=failed,
    )


def _begin(folder: Path, record: records.JobRecord) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty", "name a folder that does not exist yet")
    text = json.dumps(records.to_builtins(record))
    (folder / "job.json").write_text(text)


class MaskedLines:
    """Masks the job's own words in lines of JSON that come in pieces; each keeps its length."""

    def __init__(self, mask: Mask) -> None:
        self._mask = mask
        self._held: list[bytes] = []
        """The beginning of a line whose end has not come."""

    def feed(self, piece: bytes) -> bytes:
        """What can be handed on now."""
        if self._mask.empty:
            return piece
        *lines, rest = piece.split(b"\n")
        if lines:
            lines[0] = b"".join([*self._held, lines[0]])
            self._held = []
        self._held.append(rest)
        return b"".join(self._line(line) + b"\n" for line in lines)

    def end(self) -> bytes:
        """The rest; nothing is held afterwards."""
        rest, self._held = b"".join(self._held), []
        return self._line(rest)

    def _line(self, line: bytes) -> bytes:
        try:
            event = json.loads(line)
            masked = self._mask.fields(event)
        except (ValueError, AttributeError, RecursionError):
            # A torn line is of no use to a replay, and may hold anything.
            return self._stars(line)
        if masked == event:
            return line
        data = json.dumps(masked, separators=(",", ":")).encode()
        return data.ljust(len(line)) if len(data) <= len(line) else self._stars(line)

    def _stars(self, line: bytes) -> bytes:
        stream = self._mask.stream(same_size=True)
        return stream.feed(line) + stream.end()


class _Copy:
    """One node's part in one attempt."""

    def __init__(self, seat: Seat, tracked: TrackedJob, folder: Path) -> None:
        self._mask = tracked.mask
        self.node = seat.key.node
        self.files = self.size = 0
        self._link = seat.link
        self._remote = layout.attempt_dir(tracked.record.id, seat.attempt, seat.node_rank)
        self._local = folder / "attempts" / str(seat.attempt) / "nodes" / str(seat.node_rank)

    async def run(self, *, logs: bool) -> None:
        for name, is_folder in await self._list(""):
            if name in _WANTED and not is_folder:
                await self._file(name)
        if not logs:
            return
        for name, is_folder in await self._list(layout.LOGS):
            if is_folder and _GENERATION.fullmatch(name):
                inside = f"{layout.LOGS}/{name}"
                for log, nested in await self._list(inside):
                    if not nested and _RANK_LOG.fullmatch(log):
                        await self._file(f"{inside}/{log}")
            elif not is_folder and _LAUNCHER_LOG.fullmatch(name):
                await self._file(f"{layout.LOGS}/{name}")

    async def _list(self, inside: str) -> list[tuple[str, bool]]:
        path = f"{self._remote}/{inside}".rstrip("/")
        answer = await self._link.request("list", timeout=TIMEOUT, path=path)
        return [(str(entry["name"]), bool(entry["directory"])) for entry in answer["entries"]]

    async def _file(self, name: str) -> None:
        target = self._local / name
        await asyncio.to_thread(target.parent.mkdir, mode=0o700, parents=True, exist_ok=True)
        # As long as it was: the time index of a log counts its bytes, and the end of an attempt
        # says how long its journal is.
        structured = name.endswith((".json", ".jsonl"))
        masked = MaskedLines(self._mask) if structured else self._mask.stream(same_size=True)
        with target.open("wb") as file:
            position = 0
            while True:
                data = await self._link.read(
                    f"{self._remote}/{name}", position, CHUNK, timeout=TIMEOUT
                )
                await asyncio.to_thread(file.write, masked.feed(data))
                position += len(data)
                if len(data) < CHUNK:
                    await asyncio.to_thread(file.write, masked.end())
                    break
        self.files += 1
        self.size += position
