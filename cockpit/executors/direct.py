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

from cockpit.errors import CockpitError, LinkError, NodeError, StartError
from cockpit.executors import places
from cockpit.executors.looking import INSPECT_TIMEOUT, Looking, Place, Ready, Say
from cockpit.protocol.records import AttemptRecord, JobRecord, Member, to_builtins
from cockpit.tasks import within
from cockpit.text import clean
from cockpit.transport.link import NodeLink

_T = TypeVar("_T")

PREPARE_TIMEOUT = 120.0
UPLOAD_TIMEOUT = 3600.0
LATE = 2.0
"""Seconds that candidates are waited for once as many as the job takes are ready: one that is dead
shall not hold up every start, and a slow one keeps its place in the order."""
CLAIM_TIMEOUT = 20.0
"""Seconds that a start which is given up waits for the answer to a claim on its way."""


class Archive(Protocol):
    """A packed working directory that can be read again for every node."""

    @property
    def digest(self) -> str: ...
    @property
    def size(self) -> int: ...
    def chunks(self) -> Iterable[bytes]: ...


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
        elif isinstance(outcome, asyncio.TimeoutError):
            failed[place.spec.name] = LinkError(f"{place.spec.name} took too long to answer")
        elif isinstance(outcome, msgspec.ValidationError):
            failed[place.spec.name] = NodeError(
                "answer", f"{place.spec.name} gave an answer that makes no sense: {outcome}"
            )
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
        preflight: bool = True,
    ) -> None:
        """`preflight` False: only what a start cannot do without is looked at."""
        self._job = job
        self._attempt = attempt
        self._by = by
        self._secrets = dict(secrets)
        self._archive = archive
        self._say = say
        self._port = port
        self._looking = Looking(job, say=say, connect_timeout=connect_timeout, thorough=preflight)
        self._asked: dict[str, tuple[Place, Member]] = {}
        """Nodes that were asked to claim, whatever came of it."""
        self._claims: list[asyncio.Future[dict[str, Any]]] = []

    async def start(self, candidates: Sequence[Place]) -> Started:
        """Start the attempt on the first `max_nodes` candidates that are ready.

        Raises StartError with a reason per node when fewer than `min_nodes` are; an attempt that
        somebody else claimed raises NodeError "already_claimed". Nothing of the attempt runs then,
        nor after a cancellation; a node that could not be told so is named.
        """
        ready, failed = await self._make_ready(candidates, self._job.min_nodes)
        if len(ready) < self._job.min_nodes:
            raise self._start_error(failed)
        try:
            return await self._start_on(ready[: self._job.max_nodes], failed)
        except NodeError as error:
            # Somebody else's attempt of that number is none of our business.
            if error.code != "already_claimed":
                await self._give_up()
            raise
        except StartError as error:
            untold = await self._give_up()
            if untold:
                error.may_run_on(untold, self._job.name, self._job.id)
            raise
        except BaseException:
            untold = await self._give_up()
            if untold:
                self._say(
                    f"{untold} could not be told that the start was given up:"
                    f" `cockpit cancel {self._job.id}` once it can be reached"
                )
            raise

    async def _start_on(self, ready: Sequence[Ready], failed: dict[str, CockpitError]) -> Started:
        job = self._job
        port = await self._free_port(ready[0])
        cut_off = await self._cut_off(ready, port)
        failed.update(cut_off)
        ready = [item for item in ready if item.name not in cut_off]
        if len(ready) < job.min_nodes:
            raise self._start_error(failed)
        members = tuple(
            Member(rank, item.place.spec.name, item.place.spec.host, item.addr)
            for rank, item in enumerate(ready)
        )
        # Node rank 0 is claimed first: it decides between controllers that start at once.
        try:
            head = await self._prepare(ready[0], members[0], members, port)
        except CockpitError as error:
            if isinstance(error, NodeError) and error.code == "already_claimed":
                raise
            raise self._start_error({**failed, members[0].name: error}) from error
        rest = {item.place.spec.name: item for item in ready[1:]}
        rank_of = {member.name: member for member in members}

        async def claim(place: Place) -> AttemptRecord:
            name = place.spec.name
            return await self._prepare(rest[name], rank_of[name], members, port)

        claimed, refused = await _everywhere([item.place for item in rest.values()], claim)
        records = (head, *claimed)
        if len(records) < job.min_nodes:
            raise self._start_error({**failed, **refused})
        chosen = [ready[record.node_rank].place for record in records]

        async def go(place: Place) -> None:
            await self._command(place, rank_of[place.spec.name], "go")

        _, stayed = await _everywhere(chosen, go)
        if stayed:
            raise self._start_error(stayed)
        return Started(
            records=records, places=tuple(chosen), port=port, absent={**failed, **refused}
        )

    async def join(self, place: Place, members: Sequence[Member], port: int) -> AttemptRecord:
        """Start this attempt on one more node of an elastic job that already runs.

        `members`: those that run so far, node rank 0 first. Raises CockpitError; the node does
        not take part then.
        """
        ready, failed = await self._make_ready([place], 1)
        if failed:
            raise failed[place.spec.name]
        # A rank whose claim went wrong is spent: its claim may still lie on the node.
        taken = [member.node_rank for _, member in self._asked.values()]
        rank = max([*taken, *(member.node_rank for member in members)]) + 1
        member = Member(rank, place.spec.name, place.spec.host, ready[0].addr)
        try:
            record = await self._prepare(ready[0], member, (*members, member), port)
            await self._command(place, member, "go")
        except BaseException:
            await self._end_on(place, member)
            raise
        return record

    async def _make_ready(
        self, candidates: Sequence[Place], minimum: int
    ) -> tuple[list[Ready], dict[str, CockpitError]]:
        ready, failed = await self._look(candidates)
        refused = self._looking.compare(ready)
        if len(ready) - len(refused) < minimum and len(ready) + len(failed) < len(candidates):
            # Those that were not waited for are needed after all.
            ready, failed = await _everywhere(candidates, self._looking.look)
            refused = self._looking.compare(ready)
        failed.update(refused)
        ready = [item for item in ready if item.name not in refused]
        chosen = ready[: self._job.max_nodes]
        enough = len(ready) >= minimum
        wanted = [item.place for item in chosen] if enough else candidates
        self._looking.tell(place.spec.name for place in wanted)
        # Only what will run is uploaded; nothing is when the minimum cannot be met anyway.
        if self._archive is None or not enough:
            return ready, failed
        archive = self._archive
        _, unshipped = await _everywhere(
            [item.place for item in chosen], lambda place: self._ship(place, archive)
        )
        failed.update(unshipped)
        return [item for item in chosen if item.name not in unshipped], failed

    async def _look(
        self, candidates: Sequence[Place]
    ) -> tuple[list[Ready], dict[str, CockpitError]]:
        """Look at all at once. Once there are enough, the others are waited for a moment only, and
        are in neither of the results."""
        looks = [asyncio.ensure_future(self._looking.look(place)) for place in candidates]
        waiting, ready, limit = set(looks), 0, None
        try:
            while waiting:
                done, waiting = await asyncio.wait(
                    waiting, timeout=limit, return_when=asyncio.FIRST_COMPLETED
                )
                if not done:
                    break
                ready += sum(look.exception() is None for look in done)
                if ready >= self._job.max_nodes:
                    limit = LATE
        finally:
            for look in waiting:
                look.cancel()
            await asyncio.gather(*looks, return_exceptions=True)
        names = [place.spec.name for place in candidates]
        looked = {
            name: look for name, look in zip(names, looks, strict=True) if look not in waiting
        }
        answered = [place for place in candidates if place.spec.name in looked]
        return await _everywhere(answered, lambda place: looked[place.spec.name])

    async def _ship(self, place: Place, archive: Archive) -> None:
        link = place.link
        present = await link.request("has_code", timeout=INSPECT_TIMEOUT, digest=archive.digest)
        if not present["present"]:
            self._say(f"{place.spec.name}: uploading {_megabytes(archive.size)}")
            upload = asyncio.ensure_future(
                link.upload(archive.digest, archive.size, archive.chunks())
            )
            try:
                await within(upload, UPLOAD_TIMEOUT)
            finally:
                upload.cancel()

    async def _free_port(self, head: Ready) -> int:
        if self._port is not None:
            return self._port
        try:
            answer = await head.place.link.request(
                "free_port", timeout=INSPECT_TIMEOUT, addr=head.addr
            )
        except CockpitError as error:
            raise self._start_error({head.place.spec.name: error}) from error
        return int(answer["port"])

    async def _cut_off(self, ready: Sequence[Ready], port: int) -> dict[str, CockpitError]:
        try:
            return await self._looking.unreached(ready, port)
        except CockpitError as error:
            raise self._start_error({ready[0].name: error}) from error

    async def _prepare(
        self, item: Ready, member: Member, members: Sequence[Member], port: int
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
        self._asked[member.name] = (item.place, member)
        asked = asyncio.ensure_future(
            item.place.link.request(
                "prepare",
                timeout=PREPARE_TIMEOUT,
                job=to_builtins(self._job),
                record=to_builtins(record),
                secrets=self._secrets,
            )
        )
        # A start that is given up must know what became of its claims, or it cannot undo them.
        self._claims.append(asked)
        await asyncio.shield(asked)
        return record

    async def _command(self, place: Place, member: Member, do: str, **more: Any) -> None:
        """Leave a command with a node. Raises NodeError when the attempt has ended there."""
        answer = await place.link.request(
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
        if do == "go" and not answer.get("accepted", True):
            why = clean(str((answer.get("ended") or {}).get("message") or "it has ended already"))
            raise NodeError("ended", f"{member.name} takes no part any more: {why}")

    async def _give_up(self) -> str:
        """End whatever was claimed or has its `go`: a gang is complete, or it is not.

        Returns the names of nodes that could not be told. A claim without `go` withdraws by
        itself after a while.
        """
        if self._claims:
            await asyncio.wait(self._claims, timeout=CLAIM_TIMEOUT)
            for claim in self._claims:
                if not claim.cancelled() and claim.done():
                    claim.exception()  # told where it was awaited
        asked = list(self._asked.values())
        told = await asyncio.gather(*(self._end_on(place, member) for place, member in asked))
        return ", ".join(
            member.name for (_, member), done in zip(asked, told, strict=True) if not done
        )

    async def _end_on(self, place: Place, member: Member) -> bool:
        reason = "the start was given up"
        try:
            await self._command(place, member, "cancel", reason=reason, grace=1.0)
        except NodeError as error:
            return error.code == "not_found"
        except LinkError:
            return False
        return True

    def _start_error(self, reasons: Mapping[str, CockpitError]) -> StartError:
        names = ", ".join(reasons)
        first = next(iter(reasons.values()), None)
        return StartError(
            f"job {self._job.name} was not started anywhere: {names} could not take part",
            reasons,
            first.hint if first is not None else "",
        )


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
