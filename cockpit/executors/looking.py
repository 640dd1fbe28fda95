"""The look at a node before a start: what it has, what would make the start fail there.

Used by the gang. `Looking` looks at each node by itself, compares those that are ready with each
other, and lets every node call the head where training traffic will go. What is critical is an
error that keeps the node out; what is worth a warning is said once, of nodes that take part.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from cockpit.errors import CockpitError, NodeError
from cockpit.executors import places
from cockpit.model.doctor import (
    Finding,
    Level,
    Versions,
    clocks,
    differences,
    reference_clock,
)
from cockpit.profiles.types import NodeSpec
from cockpit.protocol.messages import Facts
from cockpit.protocol.records import JobRecord
from cockpit.text import clean
from cockpit.transport.link import NodeLink

Say = Callable[[str], None]

INSPECT_TIMEOUT = 60.0
REACH_TIMEOUT = 5.0
"""Seconds that a node gets to reach the head; a firewall that drops packets costs all of them."""
NEEDS = {"torchrun": ("torch",), "ft": ("torch", "nvrx")}
"""What the job's Python must have, by the launcher's kind: of those that use torch's rendezvous."""
_OF_PYTHON = frozenset(("torch", "cuda", "nccl", "nvrx"))
"""Checks of what the job's Python has, which are no business of a job that does not use it."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate node of a start: its profile, its link, and the Python asked for on it."""

    spec: NodeSpec
    link: NodeLink
    python: str | None = None


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """A node that was looked at and can take part. `versions` is what is known of it."""

    place: Place
    facts: Facts
    addr: str
    nproc: int
    versions: Versions = Versions()

    @property
    def name(self) -> str:
        return self.place.spec.name


class _Answer(msgspec.Struct, frozen=True):
    """Of the operation `preflight`."""

    checks: list[_Check] = []
    versions: Versions = Versions()


class _Check(msgspec.Struct, frozen=True):
    message: str
    level: Level
    check: str = ""
    hint: str = ""


def runs_python(argv: Sequence[str]) -> bool:
    """Whether a job's command is run by the Python of its node."""
    return argv[:1] == ("${python}",)


def findings(name: str, answer: Mapping[str, Any]) -> tuple[list[Finding], Versions]:
    """A node's answer to `preflight`, cleaned. Raises msgspec.ValidationError."""
    said = msgspec.convert(answer, _Answer)
    found = [
        Finding(
            node=name,
            check=clean(item.check),
            level=item.level,
            message=clean(item.message),
            hint=clean(item.hint),
        )
        for item in said.checks
    ]
    texts = {
        field: clean(value)
        for field, value in msgspec.structs.asdict(said.versions).items()
        if isinstance(value, str)
    }
    return found, msgspec.structs.replace(said.versions, **texts)


async def ask(
    link: NodeLink,
    *,
    timeout: float,
    python: str,
    addr: str,
    alone: bool,
    needs: Sequence[str] = (),
    gpus: int | None = None,
    env: Mapping[str, str] | None = None,
    full: bool = False,
    packages: bool = True,
) -> tuple[list[Finding], Versions]:
    """Have a node look at itself. Without `packages` nothing is said of what its Python has.

    Raises CockpitError, msgspec.ValidationError.
    """
    answer = await link.request(
        "preflight",
        timeout=timeout,
        python=python,
        addr=addr,
        alone=alone,
        gpus=gpus,
        full=full,
        # Only what names interfaces; no other variable is any business of a check.
        env={name: value for name, value in (env or {}).items() if name.endswith("_IFNAME")},
        **{f"need_{name}": True for name in needs},
    )
    found, versions = findings(link.name, answer)
    if not packages:
        found = [item for item in found if item.check not in _OF_PYTHON]
    return found, versions


async def unreached(
    head: NodeLink, addr: str, port: int, peers: Mapping[str, NodeLink]
) -> dict[str, CockpitError]:
    """Let `peers` call `head` at `addr`:`port` (0: any); why each that could not did not.

    Two round trips. Raises CockpitError when the head cannot listen there.
    """
    if not peers:
        return {}
    answer = await head.request(
        "listen", timeout=INSPECT_TIMEOUT, addr=addr, port=port, peers=len(peers)
    )
    port = int(answer["port"])

    async def call(name: str, link: NodeLink) -> CockpitError | None:
        try:
            said = await link.request(
                "reach",
                timeout=REACH_TIMEOUT + 10.0,
                addr=addr,
                port=port,
                nonce=answer["nonce"],
                limit=REACH_TIMEOUT,
            )
        except CockpitError as error:
            return error
        if said.get("reached"):
            return None
        why, hint = clean(str(said.get("error", ""))), clean(str(said.get("hint", "")))
        message = f"{name} does not reach {head.name} at {addr} port {port}: {why}"
        return NodeError("unreached", message, hint)

    try:
        outcomes = await asyncio.gather(*(call(name, link) for name, link in peers.items()))
    except asyncio.CancelledError:
        # Whoever starts the job anew wants the same port.
        with contextlib.suppress(CockpitError):
            await head.request("unlisten", timeout=INSPECT_TIMEOUT, port=port)
        raise
    failed = {name: error for name, error in zip(peers, outcomes, strict=True) if error is not None}
    if failed:
        await head.request("unlisten", timeout=INSPECT_TIMEOUT, port=port)
    return failed


class Looking:
    """The looks of one attempt's start, and of those that join it later.

    Without `thorough` only what a start cannot do without is looked at: Python and packages, and
    what torch's rendezvous needs where it is used: clocks, and one version of ft_launcher.
    """

    def __init__(
        self, job: JobRecord, *, say: Say, connect_timeout: float, thorough: bool = True
    ) -> None:
        self._job = job
        self._say = say
        self._connect_timeout = connect_timeout
        self._thorough = thorough
        self._needs = NEEDS.get(job.kind, ())
        self._clock: float | None = None
        """How far the attempt's clock is from this machine's, seconds."""
        self._first: tuple[str, Versions] | None = None
        """A node that took part in the start, and what it has."""
        self._warnings: dict[str, list[Finding]] = {}
        """By node, in the order in which they were found."""
        self._said: set[str] = set()

    async def look(self, place: Place) -> Ready:
        """Connect and inspect. Raises CockpitError, msgspec.ValidationError."""
        hello = await place.link.ready(self._connect_timeout)
        name = place.spec.name
        asked = place.python or "python3"
        facts = msgspec.convert(
            await place.link.request("facts", timeout=INSPECT_TIMEOUT, python=asked), Facts
        )
        self._require(name, asked, facts)
        addr = places.training_address(place.spec, hello)
        told = Versions(nvrx=clean(facts.nvrx))
        versions = told
        if self._thorough:
            checks, versions = await ask(
                place.link,
                timeout=INSPECT_TIMEOUT,
                python=facts.python,
                addr=addr,
                alone=self._job.max_nodes == 1,
                needs=self._needs,
                gpus=place.spec.gpus,
                env=self._job.env,
                packages=runs_python(self._job.argv),
            )
            for error in self._weigh(checks).values():
                raise error
            if versions.nvrx is None:
                versions = msgspec.structs.replace(versions, nvrx=told.nvrx)
        return Ready(
            place=place,
            facts=facts,
            addr=addr,
            nproc=places.ranks_on_node(self._job.nproc_per_node, place.spec, facts),
            versions=versions,
        )

    def compare(self, ready: Sequence[Ready]) -> dict[str, CockpitError]:
        """Nodes that do not go with the others, and why."""
        refused = self._skewed(ready)
        versions = {item.name: item.versions for item in ready if item.name not in refused}
        known = dict([self._first] if self._first is not None else [])
        if not self._needs:
            return refused  # the command's own business
        different = self._weigh(differences({**known, **versions}, needs=self._needs))
        # What runs already cannot be refused any more.
        refused.update({name: error for name, error in different.items() if name in versions})
        if self._first is None:
            usual = next(((n, v) for n, v in versions.items() if n not in refused), None)
            self._first = usual
        return refused

    def tell(self, names: Iterable[str]) -> None:
        """Say once what is worth a warning about these nodes: those that take part."""
        for name in names:
            for item in self._warnings.pop(name, ()):
                self._say_once(item)

    async def unreached(self, ready: Sequence[Ready], port: int) -> dict[str, CockpitError]:
        """Nodes that do not reach the first one at its training address. Raises CockpitError."""
        if not self._thorough or len(ready) < 2:
            return {}
        head, *others = ready
        peers = {item.name: item.place.link for item in others}
        return await unreached(head.place.link, head.addr, port, peers)

    def _require(self, name: str, asked: str, facts: Facts) -> None:
        shown = clean(facts.python)
        if not facts.python:
            raise NodeError(
                "no_python",
                f"{name}: there is no Python at {asked!r}",
                "set `python` of the cluster or node in cockpit.toml to the interpreter that has"
                " torch",
            )
        for package, word in (("torch", "torch"), ("nvrx", "nvidia-resiliency-ext")):
            if package in self._needs and not getattr(facts, package):
                raise NodeError(
                    f"no_{package}",
                    f"{name}: {shown} (Python {clean(facts.python_version)}) has no {word}",
                    f"install {word} there, or set `python` of the cluster or node in cockpit.toml",
                )

    def _weigh(self, found: Sequence[Finding]) -> dict[str, CockpitError]:
        """Note what is worth a warning, if asked to; the first critical finding of each node."""
        errors: dict[str, CockpitError] = {}
        for item in found:
            if item.level is Level.CRIT:
                error = NodeError("preflight", f"{item.node}: {item.message}", item.hint)
                errors.setdefault(item.node, error)
            elif item.level is Level.WARN and self._thorough:
                self._warnings.setdefault(item.node, []).append(item)
        return errors

    def _say_once(self, item: Finding) -> None:
        hint = f" ({item.hint})" if item.hint else ""
        text = f"{item.node}: {item.message}{hint}"
        # A clock is measured anew with every look, and never reads twice the same.
        key = f"{item.node} clock" if item.check == "clock" else text
        if key not in self._said:
            self._said.add(key)
            self._say(text)

    def _skewed(self, ready: Sequence[Ready]) -> dict[str, CockpitError]:
        """Nodes whose clock is too far from the others' for torch's rendezvous, if it is used.

        Once an attempt runs, its clock is the one that joining nodes are held against.
        """
        offsets = {item.name: item.place.link.link.clock_offset for item in ready}
        known = {name: offset for name, offset in offsets.items() if offset is not None}
        found = clocks(
            known, places.MAX_CLOCK_SPREAD, reference=self._clock, rendezvous=bool(self._needs)
        )
        if self._clock is None and known:
            self._clock = reference_clock(known)
        return self._weigh(found)
