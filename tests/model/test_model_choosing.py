"""Which nodes are free, which are not and why, and in which order a launch takes them."""

from __future__ import annotations

from typing import Any

import pytest

from cockpit.model.choosing import Candidate, Standing, candidates, order
from cockpit.model.types import (
    Fleet,
    Gpu,
    GpuProcess,
    Job,
    JobNode,
    JobState,
    Link,
    LinkState,
    Node,
    NodeState,
)
from cockpit.profiles.types import Cluster, NodeSpec

ONLINE = Link(state=LinkState.ONLINE, since=0.0)


def spec(name: str) -> NodeSpec:
    return NodeSpec(name=name, host=name)


LAB = Cluster(name="lab", nodes=(spec("a"), spec("b")), spares=(spec("s"),))


def node(name: str = "a", *, link: Link = ONLINE, sampled: bool = True, **gpu: Any) -> Node:
    return Node(
        name=name,
        cluster="lab",
        link=link,
        gpus=(Gpu(index=0), Gpu(index=1, **gpu)),
        sampled_at=1.0 if sampled else None,
    )


def job(state: JobState = JobState.RUNNING, seat: NodeState = NodeState.RUNNING) -> Job:
    return Job(
        id="j", name="llama", state=state, cluster="lab", launcher="l", kind="torchrun",
        command=("t.py",), min_nodes=1, max_nodes=1, attempt=0, restarts=0, max_restarts=0,
        created_at=0.0, created_by="ada",
        nodes=(JobNode(name="a", node_rank=0, host="a", addr="a", link=ONLINE, state=seat),),
    )  # fmt: skip


def first(*nodes: Node, jobs: tuple[Job, ...] = ()) -> Candidate:
    return candidates(LAB, Fleet(revision=1, nodes=nodes, jobs=jobs))[0]


def test_every_node_and_spare_of_the_cluster_stands_there_in_order() -> None:
    other = Node(name="a", cluster="elsewhere", link=ONLINE, sampled_at=1.0)
    found = candidates(LAB, Fleet(revision=1, nodes=(other, node("b"))))
    assert [(item.name, item.spare) for item in found] == [("a", False), ("b", False), ("s", True)]
    assert [item.standing for item in found] == [
        Standing.UNKNOWN, Standing.FREE, Standing.UNKNOWN,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("gpu", "why"),
    [
        ({"utilization": 40.0}, "1 GPU used by somebody"),
        ({"memory_used": 2 << 30}, "1 GPU used by somebody"),
        ({"processes": (GpuProcess(pid=7, user="bob"),)}, "1 GPU used by bob"),
        ({"state": "lost"}, "GPU 1 lost"),
    ],
)
def test_a_node_whose_gpus_are_used_is_busy(gpu: dict[str, Any], why: str) -> None:
    found = first(node(**gpu))
    assert (found.standing, found.why) == (Standing.BUSY, why)
    assert (found.gpus, found.idle) == (2, 1)


def test_a_little_memory_and_load_is_nobodys() -> None:
    found = first(node(utilization=2.0, memory_used=300 << 20))
    assert (found.standing, found.why, found.idle) == (Standing.FREE, "", 2)


def test_a_node_with_a_job_of_ours_is_busy_until_it_has_ended_there() -> None:
    assert first(node(), jobs=(job(),)).why == "runs llama"
    assert first(node(), jobs=(job(state=JobState.FAILED),)).standing is Standing.FREE
    assert first(node(), jobs=(job(seat=NodeState.SUCCEEDED),)).standing is Standing.FREE


@pytest.mark.parametrize(
    ("link", "standing"),
    [
        (Link(state=LinkState.UNREACHABLE, since=0.0, why="refused"), Standing.AWAY),
        (Link(state=LinkState.RECONNECTING, since=0.0), Standing.AWAY),
        (Link(since=0.0), Standing.UNKNOWN),
    ],
)
def test_a_node_without_contact_is_not_free(link: Link, standing: Standing) -> None:
    found = first(node(link=link))
    assert found.standing is standing
    assert found.why


def test_a_node_that_has_said_nothing_yet_is_unknown() -> None:
    found = first(node(sampled=False))
    assert (found.standing, found.gpus, found.idle) == (Standing.UNKNOWN, None, None)


def test_free_nodes_are_taken_first_and_spares_behind_their_equals() -> None:
    standings = {
        "s1": (Standing.FREE, True), "a": (Standing.AWAY, False), "b": (Standing.BUSY, False),
        "c": (Standing.FREE, False), "d": (Standing.UNKNOWN, False), "e": (Standing.FREE, False),
    }  # fmt: skip
    known = [
        Candidate(name=name, standing=standing, spare=spare)
        for name, (standing, spare) in standings.items()
    ]
    specs = [spec(name) for name in standings]
    assert [item.name for item in order(specs, known)] == ["c", "e", "s1", "d", "b", "a"]
    assert order(specs, ()) == tuple(specs)
