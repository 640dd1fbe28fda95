"""A node that has not been heard of for a while is not called free."""

from __future__ import annotations

from cockpit.model.choosing import Standing, candidates, order
from cockpit.model.types import Fleet, Gpu, Link, LinkState, Node
from cockpit.profiles.types import Cluster, NodeSpec

LAB = Cluster(name="lab", nodes=tuple(NodeSpec(name=name, host=name) for name in ("a", "b")))
ONLINE = Link(state=LinkState.ONLINE)


def fleet(a: float, b: float) -> Fleet:
    """Two nodes, last heard of at these times."""
    return Fleet(
        revision=1,
        nodes=tuple(
            Node(name=name, cluster="lab", link=ONLINE, gpus=(Gpu(index=0),), sampled_at=at)
            for name, at in (("a", a), ("b", b))
        ),
    )


def test_silence_makes_a_node_unknown_with_its_age_and_no_figures() -> None:
    silent, free = candidates(LAB, fleet(89.0, 99.0), 100.0)
    assert (silent.standing, silent.why) == (Standing.UNKNOWN, "silent for 11 s")
    assert (silent.gpus, silent.idle) == (None, None)
    assert (free.standing, free.gpus, free.idle) == (Standing.FREE, 1, 1)


def test_one_late_sample_is_no_silence() -> None:
    late, _ = candidates(LAB, fleet(97.0, 99.0), 100.0)
    assert late.standing is Standing.FREE


def test_a_silent_node_is_taken_after_those_that_are_heard_of() -> None:
    known = candidates(LAB, fleet(89.0, 99.0), 100.0)
    assert [spec.name for spec in order(LAB.nodes, known)] == ["b", "a"]
