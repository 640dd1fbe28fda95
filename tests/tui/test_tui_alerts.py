"""What the alert line is told: who is in trouble, worst first, and not what is merely brief."""

from __future__ import annotations

import msgspec
import pytest
from tui_world import AWAY, MONO, WALL, gpus, healthy, job, job_node, node, troubled

from cockpit.model.types import (
    Cause,
    Fleet,
    Generation,
    Gpu,
    GpuProcess,
    JobState,
    Link,
    LinkState,
    Node,
    NodeState,
    Stall,
)
from cockpit.tui.fleet.alerts import IDLE, PATIENCE, Alert, Watch, alerts
from cockpit.tui.frame import Frame

replace = msgspec.structs.replace


def _alerts(*nodes: Node, jobs: tuple[object, ...] = ()) -> list[Alert]:
    return alerts(Frame(Fleet(revision=1, nodes=nodes, jobs=jobs), MONO, WALL))  # type: ignore[arg-type]


def _texts(found: list[Alert]) -> list[str]:
    return [f"{each.glyph} {each.text}" for each in found]


def test_a_healthy_fleet_has_no_alerts_and_a_failed_job_is_over() -> None:
    assert alerts(Frame(healthy(), MONO, WALL)) == []


def test_what_is_worse_comes_first_and_says_since_when() -> None:
    found = alerts(Frame(troubled(), MONO, WALL))
    assert _texts(found) == [
        "✖ gpu02 ssh ada@gpu02.lab: Connection refused [port 22] (for 41s, 3 tries)",
        "? gpu03 sample age 9s",
    ]
    assert [each.severity for each in found] == ["bad", "warn"]
    assert found[0].node == "lab/gpu02"


def test_a_node_that_connects_for_the_first_time_is_no_alert() -> None:
    assert _alerts(node("new", link=Link(since=WALL - 2), age=None)) == []


def test_a_link_that_broke_is_told_before_it_is_given_up() -> None:
    link = Link(state=LinkState.RECONNECTING, since=WALL - 5, why="Connection lost", attempts=1)
    assert _texts(_alerts(node("gpu01", link=link))) == ["↻ gpu01 Connection lost (for 5s)"]


def test_sick_gpus_are_told_by_their_worst_reason() -> None:
    crit = replace(node("a"), health="crit", health_reasons=("gpu 1: Xid 79", "gpu 2: lost", "x"))
    warn = replace(node("b"), health="warn", health_reasons=("gpu 0: clocks held down",))
    assert _texts(_alerts(warn, crit)) == [
        "! a gpu 1: Xid 79 and 2 more",
        "▲ b gpu 0: clocks held down",
    ]


def test_a_driver_that_does_not_answer_is_told_with_its_silence() -> None:
    stalled = replace(node("a"), health="crit", health_reasons=("stalled",), gpu_stalled=75.0)
    assert _texts(_alerts(stalled)) == ["! a GPU driver does not answer for 1m15s"]


def test_old_health_is_not_told_as_if_it_were_now() -> None:
    old = replace(node("a", age=30.0), health="crit", health_reasons=("gpu 1: Xid 79",))
    assert _texts(_alerts(old)) == ["? a sample age 30s"]


def test_a_stalled_job_names_its_ranks_and_node() -> None:
    stalls = tuple(
        Stall(
            attempt=0, generation=0, node=name, ranks=ranks, at=WALL - 134, action="warn",
            message="m",
        )
        for name, ranks in (("gpu02", (3, 4, 5)), ("gpu01", (0,)))
    )  # fmt: skip
    done = replace(stalls[0], node="gpu09", recovered_at=WALL)
    stalled = replace(job(), flags=("stalled",), stalls=(*stalls, done))
    (found,) = _alerts(jobs=(stalled,))
    assert found.text == "llama stalled: ranks 3-5 on gpu02 and 1 other node for 2m14s"
    assert (found.severity, found.job) == ("bad", "llama-1a2b")
    ended = replace(stalled, state=JobState.FAILED)
    assert _alerts(jobs=(ended,)) == []


def test_a_job_that_is_only_remembered_is_no_alert() -> None:
    remembered = replace(job(), flags=("stalled",), seen_at=WALL - 1000)
    assert _alerts(jobs=(remembered,)) == []


def test_stragglers_are_told_by_rank_and_node() -> None:
    place = job_node(0)
    slow = replace(place, ranks=(place.ranks[0], replace(place.ranks[1], straggler=True)))
    (found,) = _alerts(jobs=(replace(job(nodes=(slow,)), flags=("straggler",)),))
    assert found.text == "gpu01 rank 1 of llama slower than the others"
    assert found.node == "lab/gpu01"


def test_a_lost_node_of_a_running_job_comes_before_everything_else() -> None:
    lost = (
        job_node(0),
        replace(job_node(1), state=NodeState.LOST),
        replace(job_node(2), state=NodeState.LOST),
    )
    found = _alerts(node("gpu09", link=AWAY), jobs=(job(nodes=lost),))
    assert _texts(found)[0] == "✝ llama lost gpu02 and 1 other node"
    assert (found[0].severity, found[0].node, found[0].job) == ("bad", "lab/gpu02", "llama-1a2b")
    assert len(found) == 2
    assert _alerts(jobs=(replace(job(nodes=lost), state=JobState.FAILED),)) == []


@pytest.mark.parametrize(
    ("flag", "text"),
    [
        ("degraded", "▽ llama degraded: runs on 1 of 2 nodes"),
        ("unknown_nodes", "? llama is out of sight on gpu02"),
        ("waiting", "◌ llama waits for a new attempt: no rank runs"),
    ],
)
def test_whatever_a_job_is_flagged_with_is_told(flag: str, text: str) -> None:
    smaller = tuple(replace(each, nodes=1) for each in job().history)
    flagged = replace(
        job(nodes=(job_node(0), job_node(1, link=AWAY)), history=smaller), flags=(flag,)
    )
    (found,) = _alerts(jobs=(flagged,))
    assert (_texts([found]), found.severity) == ([text], "warn")


def _crashed(*ago: float, reason: str = "failed") -> tuple[Generation, ...]:
    cause = Cause(kind="exit", node="gpu01", rank=1, exit_code=7)
    return tuple(
        Generation(
            attempt=0, generation=n, started_at=WALL - each - 20, ended_at=WALL - each,
            cause=cause, reason=reason,
        )
        for n, each in enumerate(ago)
    )  # fmt: skip


def test_a_job_that_crashes_again_and_again_is_told_with_its_newest_cause() -> None:
    runs = Generation(attempt=0, generation=9, started_at=WALL - 5)
    looping = job(history=(*_crashed(5000, 130, 70, 10), runs))
    assert _texts(_alerts(jobs=(looping,))) == [
        "✖ llama crashes again and again: 3 times in 2m10s, now rank 1 on gpu01: exit 7"
    ]
    assert _alerts(jobs=(job(history=(*_crashed(5000, 130), runs)),)) == []
    assert _alerts(jobs=(job(history=(*_crashed(90, 50, reason="operator"), runs)),)) == []


def test_a_job_without_a_generation_waits_for_one() -> None:
    (found,) = _alerts(jobs=(job(history=_crashed(45)),))
    assert found.text == "llama waits for a new attempt for 45s: no rank runs"
    assert _alerts(jobs=(job(history=_crashed(5)),)) == []


def test_alerts_are_of_the_chosen_clusters_and_name_theirs_where_there_are_several() -> None:
    nodes = (node("a", age=9.0), replace(node("a", age=9.0), cluster="prod"))
    frame = Frame(Fleet(revision=1, nodes=nodes), MONO, WALL)
    assert [each.text.split()[0] for each in alerts(frame)] == ["lab/a", "prod/a"]
    (found,) = alerts(frame, frozenset(("prod",)))
    assert (found.text.split()[0], found.cluster) == ("a", "prod")


def _with_idle(level: float) -> Node:
    busy = gpus(8, 97)
    return replace(node("gpu01"), gpus=(*busy[:3], replace(busy[3], utilization=level), *busy[4:]))


def _eight() -> object:
    return job(nodes=(job_node(0, count=8),))


def test_a_gpu_that_idles_while_its_peers_work_is_named() -> None:
    (found,) = _alerts(_with_idle(4.0), jobs=(_eight(),))
    assert found.text == "gpu01 gpu3 util 4% while peers 84%"
    assert found.brief
    assert _alerts(_with_idle(IDLE + 1), jobs=(_eight(),)) == []


def test_gpus_without_a_job_may_idle() -> None:
    assert _alerts(_with_idle(0.0)) == []
    assert _alerts(_with_idle(0.0), jobs=(job(nodes=(job_node(0, count=2),)),)) == []


def test_a_job_that_idles_as_a_whole_is_nobodys_fault() -> None:
    lazy = replace(node("gpu01"), gpus=tuple(replace(g, utilization=3.0) for g in gpus(8, 97)))
    assert _alerts(lazy, jobs=(_eight(),)) == []


def test_only_gpus_that_the_job_uses_are_its_peers() -> None:
    process = (GpuProcess(pid=1, job="llama-1a2b"),)
    used = tuple(
        replace(gpu, processes=process, utilization=0.0 if gpu.index == 2 else 95.0)
        for gpu in gpus(4, 97)
    )
    others = tuple(Gpu(index=4 + n, utilization=0.0) for n in range(4))
    shared = replace(node("gpu01"), gpus=(*used, *others))
    (found,) = _alerts(shared, jobs=(job(nodes=(job_node(0, count=4),)),))
    assert found.topic == "gpu2"


def test_a_gpu_of_a_node_that_is_away_is_not_judged() -> None:
    away = replace(_with_idle(0.0), link=AWAY)
    assert [each.glyph for each in _alerts(away, jobs=(_eight(),))] == ["✖"]


def test_what_is_brief_is_told_once_it_lasts_and_forgotten_when_it_ends() -> None:
    found = _alerts(_with_idle(4.0), jobs=(_eight(),))
    firm = Alert("bad", "✖", "gone", node="lab/x")
    watch = Watch()
    assert watch.look([*found, firm], 100.0) == [firm]
    assert watch.look(found, 100.0 + PATIENCE - 1) == []
    (lasting,) = watch.look(found, 100.0 + 134)
    assert lasting.text.endswith("(2m14s)")
    assert watch.look([], 240.0) == []
    assert watch.look(found, 241.0) == []
