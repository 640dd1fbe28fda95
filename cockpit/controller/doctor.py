"""`cockpit doctor`: every node looks at itself, then they are compared and call each other.

Used by `Controller.doctor`. Starts nothing on any node; the real all-reduce is `allreduce`'s.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence

import msgspec

from cockpit.controller.sessions import TRIES, Sessions
from cockpit.errors import CockpitError, LinkError, UsageError
from cockpit.executors import looking, places
from cockpit.model.doctor import Finding, Level, Patient, Report, Versions, clocks, differences
from cockpit.profiles.types import Cluster, NodeSpec
from cockpit.protocol.messages import Hello
from cockpit.text import after_name, clean
from cockpit.transport.link import NodeLink

LOOK_TIMEOUT = 180.0
"""Seconds; where NCCL's version is only to be had by importing torch, that is part of it."""
CLOCK_SAMPLES = 5
CLOCK_TIMEOUT = 10.0


class _Look(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked at on every node of a cluster. `alone`: it need not reach another one."""

    cluster: Cluster
    alone: bool
    needs: tuple[str, ...]
    env: dict[str, str]
    packages: bool


class _Met(msgspec.Struct, kw_only=True):
    """A node that was reached, and what it said."""

    spec: NodeSpec
    link: NodeLink
    addr: str
    findings: list[Finding] = []
    versions: Versions | None = None
    offset: float | None = None
    trip: float | None = None


async def examine(
    sessions: Sessions,
    clusters: Sequence[str],
    nodes: Sequence[str] = (),
    *,
    needs: Sequence[str] = ("torch",),
    env: Mapping[str, str] | None = None,
    packages: bool = True,
) -> Report:
    """Look at `nodes` (default: all, spares too) of `clusters`. Raises UsageError.

    `needs`: packages without which a job cannot start; with none, no rendezvous of torch is to
    come about either. `env`: the job's variables, the cluster's unless given. Without `packages`
    nothing is said of what the nodes' Python has.
    """
    chosen = {
        name: [
            spec
            for spec in (*sessions.cluster(name).nodes, *sessions.cluster(name).spares)
            if not nodes or spec.name in nodes
        ]
        for name in clusters
    }
    known = {spec.name for specs in chosen.values() for spec in specs}
    unknown = [name for name in nodes if name not in known]
    if unknown:
        raise UsageError(f"there is no node {', '.join(unknown)} in {', '.join(clusters)}")
    reports = await asyncio.gather(
        *(
            _cluster(sessions, specs, _look(sessions.cluster(name), specs, needs, env, packages))
            for name, specs in chosen.items()
        )
    )
    return Report(
        findings=tuple(item for report in reports for item in report.findings),
        patients=tuple(item for report in reports for item in report.patients),
    )


def _look(
    cluster: Cluster,
    specs: Sequence[NodeSpec],
    needs: Sequence[str],
    env: Mapping[str, str] | None,
    packages: bool,
) -> _Look:
    return _Look(
        cluster=cluster,
        alone=len(specs) < 2,
        needs=tuple(needs),
        env=cluster.env if env is None else dict(env),
        packages=packages,
    )


async def _cluster(sessions: Sessions, specs: Sequence[NodeSpec], look: _Look) -> Report:
    cluster, needs = look.cluster, look.needs
    links = {spec.name: sessions.open_node(cluster, spec) for spec in specs}
    outcomes = await asyncio.gather(*(_meet(look, spec, links[spec.name]) for spec in specs))
    found: dict[str, list[Finding]] = {}
    met: dict[str, _Met] = {}
    for spec, outcome in zip(specs, outcomes, strict=True):
        if isinstance(outcome, Finding):
            found[spec.name] = [outcome]
        else:
            found[spec.name] = outcome.findings
            met[spec.name] = outcome
    offsets = {name: item.offset for name, item in met.items() if item.offset is not None}
    versions = {name: item.versions for name, item in met.items() if item.versions is not None}
    compared = [
        *clocks(offsets, places.MAX_CLOCK_SPREAD, rendezvous=bool(needs)),
        *(differences(versions, needs=needs) if needs else ()),
        *await _calls([met[spec.name] for spec in specs if spec.name in met]),
    ]
    for item in compared:
        found[item.node].append(item)
    return Report(
        findings=tuple(
            msgspec.structs.replace(item, cluster=cluster.name)
            for spec in specs
            for item in found[spec.name]
        ),
        patients=tuple(
            Patient(
                cluster=cluster.name,
                node=spec.name,
                versions=versions.get(spec.name),
                rtt=met[spec.name].trip if spec.name in met else None,
            )
            for spec in specs
        ),
    )


async def _meet(look: _Look, spec: NodeSpec, link: NodeLink) -> _Met | Finding:
    """What a node says of itself, or why it could not be asked."""
    cluster = look.cluster
    try:
        hello = await connected(link, cluster.connect_timeout + 5.0)
    except LinkError as error:
        message = after_name(spec.name, error.message)
        return Finding(
            node=spec.name, check="link", level=Level.CRIT, message=message, hint=error.hint
        )
    met = _Met(spec=spec, link=link, addr=places.training_address(spec, hello))
    via = clean(link.transport.description)
    met.findings = [Finding(node=spec.name, check="link", level=Level.OK, message=via)]
    try:
        met.trip, met.offset = await _clock(link)
        said, met.versions = await looking.ask(
            link,
            timeout=LOOK_TIMEOUT,
            python=spec.python or cluster.python or "python3",
            addr=met.addr,
            alone=look.alone,
            needs=look.needs,
            gpus=spec.gpus,
            env=look.env,
            full=True,
            packages=look.packages,
        )
        met.findings += said
    except CockpitError as error:
        met.findings.append(_unknown(spec.name, "preflight", error.message, error.hint))
    except msgspec.ValidationError as error:
        message = f"its answer makes no sense: {clean(str(error))}"
        met.findings.append(_unknown(spec.name, "preflight", message))
    return met


async def connected(link: NodeLink, timeout: float) -> Hello:
    """Wait for a link, but not after TRIES failed tries. Raises LinkError."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    while True:
        left = deadline - loop.time()
        try:
            given_up = link.link.attempts >= TRIES or left <= 0
            return await link.ready(0.0 if given_up else min(left, 0.2))
        except LinkError as error:
            if given_up or not error.retry:
                raise


async def _clock(link: NodeLink) -> tuple[float, float]:
    """(round trip, node's clock minus ours less half of it), seconds, of the fastest of a few."""
    loop = asyncio.get_running_loop()
    samples = []
    for _ in range(CLOCK_SAMPLES):
        wall, begin = time.time(), loop.time()
        answer = await link.request("clock", timeout=CLOCK_TIMEOUT)
        trip = loop.time() - begin
        samples.append((trip, float(answer["wall"]) - (wall + trip / 2)))
    return min(samples)


async def _calls(met: Sequence[_Met]) -> list[Finding]:
    """Every node calls the first one where training traffic goes."""
    if len(met) < 2:
        return []
    head, *others = met
    name, where = head.spec.name, f"{head.spec.name} at {head.addr}"
    try:
        # A port such as a rendezvous would get: a firewall may know it.
        port = await head.link.request("free_port", timeout=LOOK_TIMEOUT, addr=head.addr)
        failed = await looking.unreached(
            head.link,
            head.addr,
            int(port["port"]),
            {item.spec.name: item.link for item in others},
        )
    except CockpitError as error:
        return [_unknown(name, "rendezvous", error.message, error.hint)]
    found = []
    for item in others:
        why = failed.get(item.spec.name)
        found.append(
            Finding(
                node=item.spec.name,
                check="rendezvous",
                level=Level.OK if why is None else Level.CRIT,
                message=f"reaches {where}" if why is None else why.message,
                hint="" if why is None else why.hint,
            )
        )
    return found


def _unknown(node: str, check: str, message: str, hint: str = "") -> Finding:
    return Finding(node=node, check=check, level=Level.UNKNOWN, message=message, hint=hint)
