"""Gang start against fake nodes: everywhere together, or nowhere, with a reason per node."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

import pytest

from cockpit.errors import CockpitError, LinkError, NodeError, StartError
from cockpit.executors import direct
from cockpit.executors.direct import Gang, Place
from cockpit.executors.looking import Looking, Ready
from cockpit.profiles.types import NodeSpec
from cockpit.protocol.records import JobRecord
from cockpit.transport.fake import FakeFailure, FakeNode, FakeRequest, FakeTransport
from cockpit.transport.link import NodeLink

FACTS = {
    "python": "/usr/bin/python3",
    "python_version": "3.11.7",
    "torch": "2.13.0",
    "gpus": 0,
    "cpus": 8,
    "disk_free": 10**12,
    "simulated": False,
}


class Machine:
    """A fake node that keeps a list of what was asked of it."""

    def __init__(self, name: str, *, skew: float = 0.0, **answers: Any) -> None:
        self.name = name
        self.did: list[str] = []
        self.records: list[Mapping[str, Any]] = []
        self.commands: list[Mapping[str, Any]] = []
        self.uploaded = b""
        self._answers = answers
        ops = ("facts", "preflight", "has_code", "put_code", "free_port", "prepare", "command",
               "listen", "unlisten", "reach")  # fmt: skip
        self.node = FakeNode(
            name, dict.fromkeys(ops, self._handle), wall=lambda: time.time() + skew
        )
        self.link = NodeLink(name, FakeTransport(self.node))

    async def _handle(self, request: FakeRequest) -> Mapping[str, Any] | None:
        self.did.append(request.op if request.op != "command" else str(request.args["do"]))
        answer = self._answers.get(request.op)
        if isinstance(answer, FakeFailure):
            raise answer
        if request.op == "facts":
            return {**FACTS, **(answer or {})}
        if request.op == "preflight":
            return answer if isinstance(answer, dict) else {"checks": answer or []}
        if request.op in ("listen", "unlisten"):
            return {"port": request.args["port"], "nonce": "n", "closed": True}
        if request.op == "reach":
            return {"reached": True, **(answer or {})}
        if request.op == "has_code":
            return {"present": bool(answer)}
        if request.op == "put_code":
            request.reply({"present": False})
            self.uploaded = b"".join([chunk async for chunk in request.uploaded()])
            request.end({"files": 1, "bytes": len(self.uploaded)})
            return None
        if request.op == "free_port":
            return {"port": 23456}
        if request.op == "prepare":
            self.records.append(request.args["record"])
            return {"claimed": True, "supervisor": {"pid": 1, "start_ticks": 1, "boot_id": "b"}}
        self.commands.append(request.args)
        return {"accepted": True}


class Code:
    digest = "ab" * 32
    size = 6

    def chunks(self) -> Iterable[bytes]:
        return [b"abc", b"def"]


def job(least: int, most: int, **changes: Any) -> JobRecord:
    fields: dict[str, Any] = {
        "id": "0123456789ab",
        "name": "train",
        "created_at": 0.0,
        "created_by": "ada@desk",
        "cluster": "lab",
        "launcher": "torchrun",
        "kind": "torchrun",
        "min_nodes": least,
        "max_nodes": most,
        "nproc_per_node": 2,
        "command": ("train.py",),
        "argv": ("${python}", "train.py"),
        "env": {},
        "secrets": {},
        "working_dir": "/code",
        "code": None,
        "max_restarts": 0,
        "grace": 3.0,
        **changes,
    }
    return JobRecord(**fields)


@pytest.fixture
async def started() -> AsyncIterator[list[Machine]]:
    machines: list[Machine] = []
    yield machines
    await asyncio.gather(*(machine.link.close() for machine in machines))


async def places(started: list[Machine], *machines: Machine) -> list[Place]:
    started.extend(machines)
    for machine in machines:
        await machine.link.start()
    return [
        Place(spec=NodeSpec(name=m.name, host=m.name, addr=f"10.0.0.{n}"), link=m.link)
        for n, m in enumerate(machines)
    ]


def gang(
    record: JobRecord,
    *,
    archive: Any = None,
    said: list[str] | None = None,
    preflight: bool = True,
    connect_timeout: float = 5.0,
) -> Gang:
    return Gang(
        record,
        0,
        by="ada@desk",
        secrets={},
        archive=archive,
        say=(said if said is not None else []).append,
        connect_timeout=connect_timeout,
        preflight=preflight,
    )


async def test_every_node_is_claimed_before_any_gets_its_go(started: list[Machine]) -> None:
    a, b = Machine("a"), Machine("b")
    result = await gang(job(2, 2), archive=Code()).start(await places(started, a, b))
    assert [place.spec.name for place in result.places] == ["a", "b"]
    assert a.uploaded == b.uploaded == b"abcdef"
    for machine in (a, b):
        assert machine.did[-2:] == ["prepare", "go"]
    macros = [machine.records[0]["macros"] for machine in (a, b)]
    assert [m["node_rank"] for m in macros] == ["0", "1"]
    assert [m["is_head"] for m in macros] == ["1", "0"]
    assert {m["head_node_ip"] for m in macros} == {"10.0.0.0"}
    assert {m["rdzv_port"] for m in macros} == {"23456"}


async def test_code_that_a_node_has_is_not_sent_again(started: list[Machine]) -> None:
    a = Machine("a", has_code=True)
    await gang(job(1, 1), archive=Code()).start(await places(started, a))
    assert "put_code" not in a.did


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ({"facts": {"python": ""}}, "no Python"),
        ({"facts": {"torch": ""}}, "has no torch"),
        ({"preflight": [{"level": "crit", "message": "disk full", "hint": ""}]}, "disk full"),
        ({"put_code": FakeFailure("no_space", "no space left")}, "no space left"),
    ],
)
async def test_one_node_that_cannot_take_part_means_no_claim_anywhere(
    started: list[Machine], broken: dict[str, Any], words: str
) -> None:
    a, b = Machine("a"), Machine("b", **broken)
    with pytest.raises(StartError) as caught:
        await gang(job(2, 2), archive=Code()).start(await places(started, a, b))
    assert list(caught.value.reasons) == ["b"]
    assert words in caught.value.reasons["b"].message
    assert "prepare" not in a.did + b.did


async def test_a_claim_that_fails_withdraws_the_others(started: list[Machine]) -> None:
    a, b, c = Machine("a"), Machine("b", prepare=FakeFailure("start", "no fork")), Machine("c")
    with pytest.raises(StartError) as caught:
        await gang(job(3, 3)).start(await places(started, a, b, c))
    assert set(caught.value.reasons) == {"b"}
    assert a.did[-1] == c.did[-1] == "cancel"
    assert "go" not in a.did + b.did + c.did


async def test_a_go_that_does_not_arrive_ends_what_had_started(started: list[Machine]) -> None:
    a, b = Machine("a"), Machine("b", command=FakeFailure("gone", "no supervisor"))
    with pytest.raises(StartError):
        await gang(job(2, 2)).start(await places(started, a, b))
    assert a.did[-2:] == ["go", "cancel"]


async def test_an_attempt_that_is_claimed_on_the_head_is_left_alone(
    started: list[Machine],
) -> None:
    a, b = Machine("a", prepare=FakeFailure("already_claimed", "by bob")), Machine("b")
    with pytest.raises(NodeError) as caught:
        await gang(job(2, 2)).start(await places(started, a, b))
    assert caught.value.code == "already_claimed"
    assert "prepare" not in b.did


async def test_an_elastic_job_starts_with_its_minimum_and_takes_in_the_rest(
    started: list[Machine],
) -> None:
    a, b, c = Machine("a"), Machine("b"), Machine("c")
    c.node.refuse = LinkError("switched off")
    record = job(2, 3)
    running = gang(record, archive=Code())
    seats = await places(started, a, b, c)
    result = await running.start(seats)
    assert [place.spec.name for place in result.places] == ["a", "b"]
    assert "switched off" in result.absent["c"].message
    c.node.refuse = None
    c.link.retry()
    await c.link.ready(5.0)
    plan = await running.join(seats[2], result.records[0].members, result.port)
    assert (plan.node_rank, plan.members[2].name) == (2, "c")
    assert c.uploaded == b"abcdef"
    assert c.records[0]["macros"]["is_head"] == "0"
    assert c.did[-1] == "go"


async def test_a_dead_candidate_does_not_hold_up_a_start_that_does_not_need_it(
    started: list[Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(direct, "LATE", 0.05)
    dead, b, c = Machine("dead"), Machine("b"), Machine("c")
    seats = await places(started, b, c)
    beyond = Place(spec=NodeSpec(name="dead", host="dead"), link=dead.link)
    start = await gang(job(2, 2), connect_timeout=3600.0).start([beyond, *seats])
    assert [place.spec.name for place in start.places] == ["b", "c"]


async def test_a_candidate_that_was_not_waited_for_is_asked_again_when_others_are_refused(
    started: list[Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(direct, "LATE", 0.05)
    slow = Machine("slow")
    seats = await places(started, Machine("a"), Machine("b", skew=-42.0), Machine("c"))
    late = Place(spec=NodeSpec(name="slow", host="slow", addr="10.0.0.9"), link=slow.link)
    compared = 0
    compare = Looking.compare

    def counted(looking: Looking, ready: Sequence[Ready]) -> Mapping[str, CockpitError]:
        nonlocal compared
        compared += 1
        started.append(slow)
        asyncio.ensure_future(slow.link.start())  # noqa: RUF006 - it only begins to connect
        return compare(looking, ready)

    monkeypatch.setattr(Looking, "compare", counted)
    start = await gang(job(3, 3), connect_timeout=60.0).start([late, *seats])
    assert [place.spec.name for place in start.places] == ["slow", "a", "c"]
    assert compared == 2


async def test_a_clock_that_is_off_is_refused_and_named(started: list[Machine]) -> None:
    machines = [Machine("a"), Machine("b", skew=-42.0), Machine("c")]
    with pytest.raises(StartError) as caught:
        await gang(job(3, 3)).start(await places(started, *machines))
    assert "42 s behind" in caught.value.reasons["b"].message


async def test_a_clock_that_is_a_little_off_is_told_before_a_start_and_stops_nothing(
    started: list[Machine],
) -> None:
    said: list[str] = []
    machines = [Machine("a"), Machine("b", skew=-5.0), Machine("c")]
    seats = await places(started, *machines)
    await gang(job(3, 3), said=said).start(seats)
    (line,) = said
    assert line.startswith("b: its clock is ")
    assert "behind the other clocks (torch's rendezvous" in line
    said.clear()
    await gang(job(3, 3), said=said, preflight=False).start(seats)
    assert said == []


@pytest.mark.parametrize("preflight", [True, False])
async def test_a_clock_that_is_off_does_not_stop_what_has_no_rendezvous(
    started: list[Machine], preflight: bool
) -> None:
    said: list[str] = []
    machines = [Machine("a"), Machine("b", skew=-42.0), Machine("c")]
    starting = gang(job(3, 3, kind="command"), said=said, preflight=preflight)
    result = await starting.start(await places(started, *machines))
    assert len(result.places) == 3
    assert [line.partition(" (")[0] for line in said] == [
        "b: its clock is 42 s behind the other clocks"
    ] * preflight


@pytest.mark.parametrize("kind", ["torchrun", "ft"])
async def test_without_preflight_clocks_still_stop_what_has_a_rendezvous(
    started: list[Machine], kind: str
) -> None:
    machines = [Machine(name, skew=skew, facts={"nvrx": "0.7.0"})
                for name, skew in (("a", 0.0), ("b", 42.0), ("c", 0.0))]  # fmt: skip
    with pytest.raises(StartError) as caught:
        await gang(job(3, 3, kind=kind), preflight=False).start(await places(started, *machines))
    assert "42 s ahead of" in caught.value.reasons["b"].message


@pytest.mark.parametrize("preflight", [True, False])
async def test_mixed_versions_of_ft_launcher_are_refused_with_and_without_preflight(
    started: list[Machine], preflight: bool
) -> None:
    a, b, c = (
        Machine(name, facts={"nvrx": version})
        for name, version in (("a", "0.4.1"), ("b", "0.7.0"), ("c", "0.4.1"))
    )
    seats = await places(started, a, b, c)
    with pytest.raises(StartError) as caught:
        await gang(job(3, 3, kind="ft"), preflight=preflight).start(seats)
    assert list(caught.value.reasons) == ["b"]
    assert caught.value.reasons["b"].message == "b: nvidia-resiliency-ext 0.7.0, but 0.4.1 on a, c"
    assert "prepare" not in a.did + b.did + c.did
    await gang(job(3, 3), preflight=preflight).start(seats)


async def test_a_warning_of_the_preflight_is_told_and_stops_nothing(
    started: list[Machine],
) -> None:
    said: list[str] = []
    a = Machine("a", preflight=[{"level": "warn", "message": "little space", "hint": ""}])
    await gang(job(1, 1), said=said).start(await places(started, a))
    assert said == ["a: little space"]


async def test_only_nodes_that_take_part_are_warned_about(started: list[Machine]) -> None:
    said: list[str] = []
    a, b, c = (
        Machine(name, preflight=[{"level": "warn", "message": "little space", "hint": ""}])
        for name in ("a", "b", "c")
    )
    await gang(job(1, 2), said=said).start(await places(started, a, b, c))
    assert said == ["a: little space", "b: little space"]


async def test_where_too_few_nodes_can_take_part_every_warning_is_told(
    started: list[Machine],
) -> None:
    said: list[str] = []
    warning = {"level": "warn", "message": "little space", "hint": ""}
    a = Machine("a", preflight=[warning, {"level": "crit", "message": "disk full", "hint": ""}])
    with pytest.raises(StartError):
        await gang(job(1, 1), said=said).start(await places(started, a))
    assert said == ["a: little space"]


@pytest.mark.parametrize(("argv", "told"), [(("nvidia-smi",), 0), (("${python}", "x.py"), 1)])
async def test_packages_of_a_python_that_a_job_does_not_use_are_not_spoken_of(
    started: list[Machine], argv: tuple[str, ...], told: int
) -> None:
    said: list[str] = []
    a = Machine("a", preflight=[
        {"level": "warn", "check": "cuda", "message": "torch cannot use CUDA", "hint": ""},
    ])  # fmt: skip
    record = job(1, 1, kind="command", argv=argv)
    await gang(record, said=said).start(await places(started, a))
    assert len(said) == told


async def test_another_minor_version_of_torch_is_refused_and_a_patch_is_told(
    started: list[Machine],
) -> None:
    said: list[str] = []
    a, b, c = (
        Machine(name, preflight={"checks": [], "versions": {"torch": version}})
        for name, version in (("a", "2.6.0"), ("b", "2.6.1"), ("c", "2.7.0"))
    )
    with pytest.raises(StartError) as caught:
        await gang(job(3, 3), said=said).start(await places(started, a, b, c))
    assert list(caught.value.reasons) == ["c"]
    assert "torch 2.7.0, but 2.6.0 on a" in caught.value.reasons["c"].message
    assert [line.partition(",")[0] for line in said] == ["b: torch 2.6.1"]
    assert "prepare" not in a.did + b.did + c.did


async def test_a_node_that_joins_is_held_against_those_that_run(started: list[Machine]) -> None:
    a, b, c = (
        Machine(name, preflight={"checks": [], "versions": {"torch": version}})
        for name, version in (("a", "2.6.0"), ("b", "2.6.0"), ("c", "2.7.0"))
    )
    running = gang(job(2, 3))
    seats = await places(started, a, b, c)
    result = await running.start(seats[:2])
    with pytest.raises(NodeError, match=r"torch 2\.7\.0"):
        await running.join(seats[2], result.records[0].members, result.port)
    assert "prepare" not in c.did


async def test_a_node_that_does_not_reach_the_head_takes_no_part(started: list[Machine]) -> None:
    no = {"reached": False, "error": "no answer in 5 s", "hint": "open the firewall"}
    a, b, c = Machine("a"), Machine("b", reach=no), Machine("c")
    with pytest.raises(StartError) as caught:
        await gang(job(3, 3)).start(await places(started, a, b, c))
    reason = caught.value.reasons["b"]
    assert reason.message == "b does not reach a at 10.0.0.0 port 23456: no answer in 5 s"
    assert reason.hint == "open the firewall"
    assert a.did[-1] == "unlisten"
    assert "prepare" not in a.did + b.did + c.did


async def test_a_start_that_is_cancelled_while_nodes_call_frees_the_port_of_the_head(
    started: list[Machine],
) -> None:
    a, b = Machine("a"), Machine("b")

    async def never(request: FakeRequest) -> Mapping[str, Any] | None:
        b.did.append("reach")
        await asyncio.sleep(600)
        return {}

    b.node.handlers["reach"] = never
    seats = await places(started, a, b)
    starting = asyncio.ensure_future(gang(job(2, 2)).start(seats))
    while "reach" not in b.did:
        await asyncio.sleep(0.01)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert "unlisten" in a.did


async def test_an_elastic_job_leaves_out_a_node_that_does_not_reach_the_head(
    started: list[Machine],
) -> None:
    no = {"reached": False, "error": "refused", "hint": ""}
    a, b, c = Machine("a"), Machine("b", reach=no), Machine("c")
    result = await gang(job(2, 3)).start(await places(started, a, b, c))
    assert [place.spec.name for place in result.places] == ["a", "c"]
    assert [record.node_rank for record in result.records] == [0, 1]
    assert list(result.absent) == ["b"]


async def test_one_node_alone_calls_nobody(started: list[Machine]) -> None:
    a = Machine("a")
    await gang(job(1, 1)).start(await places(started, a))
    assert "listen" not in a.did


async def test_without_preflight_only_what_a_start_needs_is_looked_at(
    started: list[Machine],
) -> None:
    sick = [{"level": "crit", "message": "disk full", "hint": ""}]
    a, b = Machine("a", preflight=sick), Machine("b", reach={"reached": False})
    starting = gang(job(2, 2), preflight=False)
    await starting.start(await places(started, a, b))
    assert not {"preflight", "listen", "reach"} & {*a.did, *b.did}
    lacking = Machine("c", facts={"torch": ""})
    with pytest.raises(StartError):
        await gang(job(1, 1), preflight=False).start(await places(started, lacking))


async def test_a_warning_is_told_once_however_often_a_node_is_looked_at(
    started: list[Machine],
) -> None:
    said: list[str] = []
    little = [{"level": "warn", "message": "little space", "hint": "free some"}]
    a, b = Machine("a"), Machine("b", preflight=little, prepare=FakeFailure("no", "no"))
    running = gang(job(1, 2), said=said)
    seats = await places(started, a, b)
    result = await running.start(seats[:1])
    for _ in range(2):
        with pytest.raises(NodeError):
            await running.join(seats[1], result.records[0].members, result.port)
    assert said == ["b: little space (free some)"]


async def test_a_start_that_is_cancelled_waits_for_claims_on_their_way_and_ends_them(
    started: list[Machine],
) -> None:
    a, b = Machine("a"), Machine("b")
    release = asyncio.Event()
    claimed: list[str] = []

    async def slow(request: FakeRequest) -> Mapping[str, Any] | None:
        await release.wait()
        claimed.append("b")
        return {"claimed": True, "supervisor": {"pid": 1, "start_ticks": 1, "boot_id": "b"}}

    b.node.handlers["prepare"] = slow
    seats = await places(started, a, b)
    starting = asyncio.ensure_future(gang(job(2, 2)).start(seats))
    while "prepare" not in a.did:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    starting.cancel()
    await asyncio.sleep(0.1)
    assert "cancel" not in b.did
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert claimed == ["b"]
    assert a.did[-1] == b.did[-1] == "cancel"
    assert "go" not in a.did + b.did
