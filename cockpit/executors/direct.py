"""Gang start on nodes that cockpit reaches itself: everywhere together, or nowhere.

All that can fail early (connect, look, upload, port, claim) happens on every node before any
node gets its `go`; if one fails, every claim is withdrawn and the error names each node and its
reason. An elastic job starts once its minimum is ready and takes the others in as they come.
Called by the controller; knows nothing of screens and files of this machine.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import msgspec

from cockpit.errors import CockpitError, NodeError, StartError
from cockpit.executors import places
from cockpit.profiles.types import NodeSpec
from cockpit.protocol.messages import Facts
from cockpit.protocol.records import AttemptRecord, JobRecord, Member, to_builtins
from cockpit.transport.link import NodeLink

Say = Callable[[str], None]
_T = TypeVar("_T")

INSPECT_TIMEOUT = 60.0
PREPARE_TIMEOUT = 120.0
UPLOAD_TIMEOUT = 3600.0


class Archive(Protocol):
    """A packed working directory that can be read again for every node."""

    @property
    def digest(self) -> str: ...
    @property
    def size(self) -> int: ...
    def chunks(self) -> Iterable[bytes]: ...


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate node of a start: its profile, its link, and the Python asked for on it."""

    spec: NodeSpec
    link: NodeLink
    python: str | None = None


class _Ready(msgspec.Struct, frozen=True, kw_only=True):
    """A node that was looked at and holds the code."""

    place: Place
    facts: Facts
    addr: str
    nproc: int


class Started(msgspec.Struct, frozen=True, kw_only=True):
    """What a start made. `absent` are candidates of an elastic job that were not ready, and why."""

    records: tuple[AttemptRecord, ...]
    places: tuple[Place, ...]
    """In the order of `records`."""
    port: int
    absent: dict[str, CockpitError] = {}


async def _everywhere(
    places_: Sequence[Place], work: Callable[[Place], Awaitable[_T]]
) -> tuple[list[_T], dict[str, CockpitError]]:
    """Run `work` on all at once: the results in order, and the errors by node name."""
    outcomes = await asyncio.gather(*(work(place) for place in places_), return_exceptions=True)
    done: list[_T] = []
    failed: dict[str, CockpitError] = {}
    for place, outcome in zip(places_, outcomes, strict=True):
        if isinstance(outcome, CockpitError):
            failed[place.spec.name] = outcome
        elif isinstance(outcome, BaseException):
            raise outcome
        else:
            done.append(outcome)
    return done, failed


class Gang:
    """One attempt's start. Used once; `join` may be called later while the attempt runs."""

    def __init__(
        self,
        job: JobRecord,
        attempt: int,
        *,
        by: str,
        secrets: Mapping[str, str],
        archive: Archive | None,
        say: Say,
        connect_timeout: float,
        port: int | None = None,
    ) -> None:
        self._job = job
        self._attempt = attempt
        self._by = by
        self._secrets = dict(secrets)
        self._archive = archive
        self._say = say
        self._connect_timeout = connect_timeout
        self._port = port

    async def start(self, candidates: Sequence[Place]) -> Started:
        """Start the attempt on the first `max_nodes` candidates that are ready.

        Raises StartError with a reason per node when fewer than `min_nodes` are; nothing runs
        then. An attempt that somebody else claimed raises NodeError "already_claimed".
        """
        job = self._job
        ready, failed = await self._make_ready(candidates, job.min_nodes)
        if len(ready) < job.min_nodes:
            raise self._start_error(failed)
        ready = ready[: job.max_nodes]
        members = tuple(
            Member(rank, item.place.spec.name, item.place.spec.host, item.addr)
            for rank, item in enumerate(ready)
        )
        port = await self._free_port(ready[0])
        # Node rank 0 is claimed first: it decides between controllers that start at once.
        try:
            head = await self._prepare(ready[0], members[0], members, port)
        except NodeError as error:
            if error.code == "already_claimed":
                raise
            raise self._start_error({**failed, members[0].name: error}) from error
        except CockpitError as error:
            raise self._start_error({**failed, members[0].name: error}) from error
        pairs = list(zip(ready[1:], members[1:], strict=True))
        by_name = {member.name: (item, member) for item, member in pairs}

        async def claim(place: Place) -> AttemptRecord:
            item, member = by_name[place.spec.name]
            return await self._prepare(item, member, members, port)

        claimed, refused = await _everywhere([item.place for item, _ in pairs], claim)
        records = (head, *claimed)
        alive = tuple(members[record.node_rank] for record in records)
        place_of = {member.name: item.place for item, member in zip(ready, members, strict=True)}
        if len(alive) < job.min_nodes:
            await self._withdraw(alive, place_of, "another node could not be prepared")
            raise self._start_error({**failed, **refused})
        await self._go(alive, place_of)
        return Started(
            records=records,
            places=tuple(place_of[member.name] for member in alive),
            port=port,
            absent={**failed, **refused},
        )

    async def join(self, place: Place, members: Sequence[Member], port: int) -> AttemptRecord:
        """Start this attempt on one more node of an elastic job that already runs.

        `members`: all that were planned so far, node rank 0 first.
        """
        ready, failed = await self._make_ready([place], 1)
        if failed:
            raise failed[place.spec.name]
        rank = max(member.node_rank for member in members) + 1
        spec = place.spec
        member = Member(rank, spec.name, spec.host, ready[0].addr)
        record = await self._prepare(ready[0], member, (*members, member), port)
        await self._go((member,), {member.name: place})
        return record

    async def _make_ready(
        self, candidates: Sequence[Place], minimum: int
    ) -> tuple[list[_Ready], dict[str, CockpitError]]:
        ready, failed = await _everywhere(candidates, self._look)
        skewed = _skewed(ready) if len(ready) > 1 else {}
        failed.update(skewed)
        ready = [item for item in ready if item.place.spec.name not in skewed]
        # Only what will run is uploaded; nothing is when the minimum cannot be met anyway.
        if self._archive is None or len(ready) < minimum:
            return ready, failed
        chosen = ready[: self._job.max_nodes]
        archive = self._archive
        _, refused = await _everywhere(
            [item.place for item in chosen], lambda place: self._ship(place, archive)
        )
        failed.update(refused)
        return [item for item in chosen if item.place.spec.name not in refused], failed

    async def _look(self, place: Place) -> _Ready:
        hello = await place.link.ready(self._connect_timeout)
        name = place.spec.name
        asked = place.python or "python3"
        facts = msgspec.convert(
            await place.link.request("facts", timeout=INSPECT_TIMEOUT, python=asked), Facts
        )
        if not facts.python:
            raise NodeError(
                "no_python",
                f"{name}: there is no Python at {asked!r}",
                "set `python` of the cluster or node in cockpit.toml to the interpreter that has"
                " torch",
            )
        need_torch = self._job.kind == "torchrun"
        if need_torch and not facts.torch:
            raise NodeError(
                "no_torch",
                f"{name}: {facts.python} (Python {facts.python_version}) has no torch",
                "install torch there, or set `python` of the cluster or node in cockpit.toml",
            )
        checks = await place.link.request(
            "preflight", timeout=INSPECT_TIMEOUT, python=facts.python, need_torch=need_torch
        )
        for check in checks["checks"]:
            if check["level"] == "crit":
                raise NodeError("preflight", f"{name}: {check['message']}", check.get("hint", ""))
            if check["level"] == "warn":
                self._say(f"{name}: {check['message']}")
        return _Ready(
            place=place,
            facts=facts,
            addr=places.training_address(place.spec, hello),
            nproc=places.ranks_on_node(self._job.nproc_per_node, place.spec, facts),
        )

    async def _ship(self, place: Place, archive: Archive) -> None:
        link = place.link
        present = await link.request("has_code", timeout=INSPECT_TIMEOUT, digest=archive.digest)
        if not present["present"]:
            self._say(f"{place.spec.name}: uploading {_megabytes(archive.size)}")
            await asyncio.wait_for(
                link.upload(archive.digest, archive.size, archive.chunks()), UPLOAD_TIMEOUT
            )

    async def _free_port(self, head: _Ready) -> int:
        if self._port is not None:
            return self._port
        try:
            answer = await head.place.link.request(
                "free_port", timeout=INSPECT_TIMEOUT, addr=head.addr
            )
        except CockpitError as error:
            raise self._start_error({head.place.spec.name: error}) from error
        return int(answer["port"])

    async def _prepare(
        self, item: _Ready, member: Member, members: Sequence[Member], port: int
    ) -> AttemptRecord:
        record = AttemptRecord(
            job=self._job.id,
            attempt=self._attempt,
            node_rank=member.node_rank,
            members=tuple(members),
            macros=places.macros(
                self._job,
                self._attempt,
                member,
                members[0],
                len(members),
                item.nproc,
                item.facts.python,
                port,
            ),
            created_at=time.time(),
            created_by=self._by,
            nproc_per_node=item.nproc,
        )
        await item.place.link.request(
            "prepare",
            timeout=PREPARE_TIMEOUT,
            job=to_builtins(self._job),
            record=to_builtins(record),
            secrets=self._secrets,
        )
        return record

    async def _command(self, link: NodeLink, member: Member, do: str, **more: Any) -> None:
        await link.request(
            "command",
            timeout=INSPECT_TIMEOUT,
            job=self._job.id,
            attempt=self._attempt,
            node_rank=member.node_rank,
            id=uuid.uuid4().hex,
            do=do,
            by=self._by,
            **more,
        )

    async def _go(self, members: Sequence[Member], place_of: Mapping[str, Place]) -> None:
        member_of = {member.name: member for member in members}

        async def go(place: Place) -> None:
            await self._command(place.link, member_of[place.spec.name], "go")

        chosen = [place_of[member.name] for member in members]
        _, failed = await _everywhere(chosen, go)
        if failed:
            await self._abort(members, place_of)
            raise self._start_error(failed)

    async def _withdraw(
        self, members: Sequence[Member], place_of: Mapping[str, Place], reason: str
    ) -> None:
        """Take the claims back. A node that cannot be told withdraws by itself after a while."""
        member_of = {member.name: member for member in members}

        async def withdraw(place: Place) -> None:
            member = member_of[place.spec.name]
            await self._command(place.link, member, "withdraw", reason=reason)

        await _everywhere([place_of[member.name] for member in members], withdraw)

    async def _abort(self, members: Sequence[Member], place_of: Mapping[str, Place]) -> None:
        """End what got its `go` already: a gang is complete, or it is not."""
        member_of = {member.name: member for member in members}

        async def cancel(place: Place) -> None:
            member = member_of[place.spec.name]
            reason = "another node did not start"
            await self._command(place.link, member, "cancel", reason=reason, grace=1.0)

        await _everywhere([place_of[member.name] for member in members], cancel)

    def _start_error(self, reasons: Mapping[str, CockpitError]) -> StartError:
        names = ", ".join(reasons)
        first = next(iter(reasons.values()), None)
        return StartError(
            f"job {self._job.name} was not started anywhere: {names} could not take part",
            reasons,
            first.hint if first is not None else "",
        )


def _skewed(ready: Sequence[_Ready]) -> dict[str, CockpitError]:
    """Nodes whose clock is too far from the majority's for torch's rendezvous."""
    offsets = {item.place.spec.name: item.place.link.link.clock_offset or 0.0 for item in ready}
    ordered = sorted(offsets.values())
    middle = ordered[len(ordered) // 2]
    return {
        name: NodeError(
            "clock",
            f"{name}: its clock is {abs(offset - middle):.0f} s"
            f" {'ahead of' if offset > middle else 'behind'} the other nodes'",
            "torch's rendezvous compares wall clocks: run chrony or ntp there",
        )
        for name, offset in offsets.items()
        if abs(offset - middle) > places.MAX_CLOCK_SPREAD
    }


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size / 1e3:.1f} kB"


async def send_cancel(
    link: NodeLink, job: str, attempt: int, node_rank: int, *, by: str, reason: str, grace: float
) -> None:
    """Tell one node to end an attempt. Raises LinkError or NodeError."""
    await link.request(
        "command",
        timeout=INSPECT_TIMEOUT,
        job=job,
        attempt=attempt,
        node_rank=node_rank,
        id=uuid.uuid4().hex,
        do="cancel",
        by=by,
        reason=reason,
        grace=grace,
    )


async def left_over(link: NodeLink, job: str) -> list[dict[str, Any]]:
    """Processes on one node that carry the job's marker. Raises LinkError or NodeError."""
    answer = await link.request("scan", timeout=INSPECT_TIMEOUT, job=job)
    processes: list[dict[str, Any]] = answer["processes"]
    return processes


__all__ = [
    "Archive",
    "Gang",
    "Place",
    "Say",
    "Started",
    "left_over",
    "send_cancel",
]
