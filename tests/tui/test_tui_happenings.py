"""What happened, told from two snapshots; nothing of what was so before anybody looked."""

from __future__ import annotations

import msgspec
import pytest
from tui_screen import Opener
from tui_world import AWAY, BOOM, ONLINE, WALL, healthy, job, node, recovered_job

from cockpit.model.types import (
    Cause,
    Fleet,
    Generation,
    Job,
    JobState,
    Link,
    LinkState,
    Node,
    Stall,
)
from cockpit.tui.house.happenings import KEPT, SETTLED, Chronicle, Happening

replace = msgspec.structs.replace
LATER = WALL + SETTLED + 1


def told(
    before: tuple[Job | Node, ...], after: tuple[Job | Node, ...], *, watched: bool = True
) -> list[Happening]:
    """What a chronicle tells of a change, of jobs that it has watched for a while or not."""
    chronicle = Chronicle()
    old, new = fleet(before), fleet(after)
    chronicle.observe(None, old, WALL)
    return chronicle.observe(old, new, LATER if watched else WALL + 1)


def fleet(things: tuple[Job | Node, ...]) -> Fleet:
    return Fleet(
        revision=1,
        nodes=tuple(each for each in things if isinstance(each, Node)),
        jobs=tuple(each for each in things if isinstance(each, Job)),
    )


def texts(happenings: list[Happening]) -> list[tuple[str, str]]:
    return [(each.kind, each.text) for each in happenings]


def test_the_first_snapshot_tells_nothing_and_no_change_tells_nothing() -> None:
    chronicle = Chronicle()
    assert chronicle.observe(None, healthy(), WALL) == []
    assert chronicle.observe(healthy(), healthy(), WALL + 1) == []
    assert chronicle.kept == ()


@pytest.mark.parametrize(
    ("state", "kind", "tone", "text"),
    [
        (JobState.SUCCEEDED, "end", "ok", "llama succeeded after 11m04s"),
        (JobState.CANCELLED, "end", "warn", "llama was cancelled by bob@host after 11m04s"),
        (
            JobState.FAILED,
            "failure",
            "bad",
            "llama failed after 11m04s: rank 3 on gpu02: exit 7: RuntimeError: boom in [rank3]"
            " [/data/x]",
        ),
    ],
)
def test_the_end_of_a_job_is_told_with_its_cause_or_who_asked_for_it(
    state: JobState, kind: str, tone: str, text: str
) -> None:
    cause = BOOM if state is JobState.FAILED else None
    by = "bob@host" if state is JobState.CANCELLED else ""
    after = replace(job(state=state, cause=cause), cancelled_by=by)
    happenings = told((job(),), (after,))
    assert texts(happenings) == [(kind, text)]
    assert happenings[0].tone == tone
    assert (happenings[0].job, happenings[0].cluster) == ("llama-1a2b", "lab")
    assert happenings[0].at == WALL - 60


def test_what_ended_before_anybody_looked_is_no_news() -> None:
    ended = job(state=JobState.FAILED, cause=BOOM)
    assert told((), (ended,), watched=False) == []
    assert told((job(),), (ended,), watched=False) == []
    since = replace(ended, ended_at=WALL + 0.5)
    assert [each.kind for each in told((), (since,), watched=False)] == ["failure"]


def test_a_job_that_is_started_is_told_once_with_its_size() -> None:
    staging = replace(job(state=JobState.STAGING, age=-2), history=())
    running = job(age=-2)
    assert texts(told((), (staging,), watched=False)) == []
    expected = [("started", "llama started on 2 nodes, 4 ranks (by ada@laptop)")]
    assert texts(told((staging,), (running,), watched=False)) == expected
    assert texts(told((), (running,), watched=False)) == expected
    assert told((), (job(),), watched=False) == []


def test_a_restart_is_told_with_its_number_its_limit_and_its_cause() -> None:
    after = recovered_job()
    counted = replace(after.history[0], counted=True)
    before = replace(after, restarts=0, history=(replace(after.history[0], ended_at=None),))
    happenings = told((before,), (replace(after, history=(counted, after.history[1])),))
    assert texts(happenings) == [
        ("restart", "ablate restarted (1/3) after rank 1 on gpu01: SIGKILL")
    ]


@pytest.mark.parametrize(
    ("reason", "by", "text"),
    [
        ("operator", "bob@host", "llama restarted by bob@host"),
        ("operator", "", "llama restarted on request"),
        ("membership", "", "llama restarted because its nodes changed"),
        ("stall", "", "llama restarted because it stalled"),
    ],
)
def test_a_restart_without_a_failure_is_told_with_its_reason(
    reason: str, by: str, text: str
) -> None:
    first = Generation(attempt=0, generation=0, started_at=WALL, ended_at=LATER, reason=reason)
    second = Generation(attempt=0, generation=1, started_at=LATER)
    before = job(history=(replace(first, ended_at=None, reason=""),))
    after = replace(before, history=(replace(first, by=by), second), restarts=1)
    assert texts(told((before,), (after,))) == [("restart", text)]


def test_another_attempt_is_told_as_such() -> None:
    first = Generation(attempt=0, generation=0, started_at=WALL, ended_at=LATER, reason="operator")
    again = Generation(attempt=1, generation=0, started_at=LATER)
    before = job(history=(first,))
    after = replace(before, history=(replace(first, by="eve"), again), restarts=1, attempt=1)
    assert texts(told((before,), (after,))) == [
        ("restart", "llama was started again as attempt 1 by eve")
    ]


def stall(name: str = "gpu02", rank: int = 3, recovered: float | None = None) -> Stall:
    return Stall(
        attempt=0, generation=0, node=name, ranks=(rank,), at=WALL + 5, action="restart",
        message="no beat for 120 s", recovered_at=recovered,
    )  # fmt: skip


def test_a_stall_is_told_once_though_several_nodes_declare_it_and_so_is_its_end() -> None:
    quiet, one = job(), replace(job(), stalls=(stall(),))
    two = replace(job(), stalls=(stall(), stall("gpu01", 1)))
    assert texts(told((quiet,), (one,))) == [
        ("stall", "llama stalled: rank 3 on gpu02: no beat for 120 s; its ranks are restarted")
    ]
    assert told((one,), (two,)) == []
    both = texts(told((quiet,), (two,)))
    assert both[0][1].startswith("llama stalled: 2 ranks on gpu02, gpu01: ")
    half = replace(job(), stalls=(stall(recovered=WALL + 65), stall("gpu01", 1)))
    assert told((two,), (half,)) == []
    over = replace(job(), stalls=(stall(recovered=WALL + 65), stall("gpu01", 1, WALL + 70)))
    assert texts(told((half,), (over,))) == [
        ("recovered", "llama beats again, 1m05s after it stalled")
    ]


def test_a_cancel_by_somebody_else_is_told_while_it_is_carried_out() -> None:
    going = replace(job(), flags=("cancelling",), cancelled_by="bob@host")
    assert texts(told((job(),), (going,))) == [("order", "llama is being cancelled by bob@host")]


def test_a_node_that_is_lost_is_told_with_the_links_error_and_so_is_its_return() -> None:
    there, away = node("gpu02"), node("gpu02", link=AWAY)
    lost = told((there,), (away,))
    assert texts(lost) == [("node", "gpu02 lost: ssh ada@gpu02.lab: Connection refused [port 22]")]
    assert (lost[0].tone, lost[0].cluster, lost[0].node) == ("bad", "lab", "gpu02")
    assert texts(told((away,), (there,))) == [("node", "gpu02 is back after 52s")]


def test_a_first_connect_is_no_news_but_its_failure_is() -> None:
    fresh = node("gpu04", link=Link(since=WALL), age=None)
    assert told((fresh,), (replace(fresh, link=ONLINE),)) == []
    away = Link(state=LinkState.UNREACHABLE, since=WALL, why="no route")
    assert texts(told((fresh,), (replace(fresh, link=away),))) == [
        ("node", "gpu04 cannot be reached: no route")
    ]


def test_health_is_told_when_it_changes_but_does_not_flutter() -> None:
    fine = replace(node("gpu01"), health="ok")
    hot = replace(fine, health="crit", health_reasons=("GPU 3: 95 °C", "more"))
    chronicle = Chronicle()
    chronicle.observe(None, fleet((fine,)), WALL)
    said = []
    for turn in range(6):
        pair = (fine, hot) if turn % 2 == 0 else (hot, fine)
        said += chronicle.observe(fleet((pair[0],)), fleet((pair[1],)), WALL + turn)
    assert [each.text for each in said] == ["gpu01: GPU 3: 95 °C", "gpu01 is healthy again"]
    unknown = replace(fine, health="unknown")
    assert told((unknown,), (hot,)) == []


def test_the_history_is_bounded_and_is_the_same_object_while_nothing_is_new() -> None:
    chronicle = Chronicle()
    for number in range(KEPT + 10):
        chronicle.note(Happening(WALL, "note", "", f"{number}"))
    assert len(chronicle.kept) == KEPT
    assert chronicle.kept[-1].text == str(KEPT + 9)
    assert chronicle.kept is chronicle.kept


def test_a_cause_of_several_ranks_is_told_with_their_number() -> None:
    cause = Cause(kind="oom", node="gpu01", rank=0, alike=3, at=WALL)
    happenings = told((job(),), (job(state=JobState.FAILED, cause=cause),))
    assert "rank 0 and 3 others alike" in happenings[0].text


async def test_every_frame_carries_what_happened(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        screen.frozen.passed += SETTLED + 1
        screen.source.change(job(state=JobState.FAILED, cause=BOOM))
        await screen.pulse()
        assert [each.kind for each in screen.app.frame.happenings] == ["failure"]
        screen.source.change(nodes=(node("gpu01", link=AWAY), *healthy().nodes[1:]))
        await screen.pulse()
        assert [each.kind for each in screen.app.frame.happenings] == ["failure", "node"]
