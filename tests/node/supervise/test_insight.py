"""When digests are written, what is noted of Xids, and that no failure of watching gets out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from cockpit.node import journal, processes
from cockpit.node.rank import slot
from cockpit.node.rank.slot import Slot
from cockpit.node.supervise import insight
from cockpit.node.supervise.claims import Place
from cockpit.node.supervise.ending import STOP_PATIENCE, Ending
from cockpit.node.supervise.folding import Exit, Past, PastStall, past
from cockpit.node.supervise.insight import Insight
from cockpit.node.supervise.stallresponse import Verdict
from cockpit.protocol import layout
from cockpit.protocol.records import ProcessId, Watch, to_builtins
from tests.node.supervising import eventually


class Watched:
    """An Insight in this process over a clock that the test moves; its one rank is this process."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, **watch: Any) -> None:
        self.now = 5000.0
        monkeypatch.setattr(slot, "monotonic_ns", lambda: round(self.now * 1e9))
        self.place = Place(str(folder), "0123456789ab", 0, os.getpid())
        self.folder = Path(self.place.path)
        self.folder.mkdir(parents=True)
        self.journal = journal.Journal(self.place.file(layout.EVENTS))
        self.insight = Insight(
            self.place,
            self.journal,
            kind="torchrun",
            watch=Watch(**watch),
            runtime="/nowhere",
        )
        self.slots = self.insight.prepare()
        self.launcher = journal.Journal(self.place.file(layout.LAUNCHER_EVENTS))

    def begin(self, generation: int) -> Slot:
        me = processes.identify(os.getpid())
        assert me is not None
        rank = {"rank": 0, "local_rank": 0, "process": to_builtins(me), "out": "", "err": ""}
        self.launcher.write("generation", generation=generation, ranks=[rank])
        return Slot(os.path.join(self.slots, layout.slot(generation, 0)), 0)

    def run(self, seconds: float, beating: Slot | None = None) -> None:
        for _ in range(round(seconds / 0.05)):
            self.now += 0.05
            if beating is not None:
                beating.step()
            self.insight.tick(self.now, True)

    def digests(self) -> list[dict[str, Any]]:
        return journal.read(self.place.file(layout.BEATS))

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in journal.read(self.journal.path) if event["kind"] == kind]


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    watched = Watched(tmp_path, monkeypatch)
    yield watched
    watched.insight.finish()
    assert not os.path.exists(watched.slots)


def test_digests_come_each_second_while_something_changes_and_every_five_in_silence(
    watched: Watched,
) -> None:
    beating = watched.begin(0)
    watched.run(10, beating)
    times = [digest["mono"] - 5000.0 for digest in watched.digests()]
    assert 9 <= len(times) <= 12
    before = len(times)
    watched.run(20)
    assert before + 4 <= len(watched.digests()) <= before + 6


def test_a_change_of_stage_is_told_at_once(watched: Watched) -> None:
    watched.begin(0).step()
    watched.run(0.3)
    beating = watched.begin(1)
    watched.run(0.3)
    beating.step()
    watched.run(0.3)
    watched.launcher.write("stopping", generation=1)
    watched.run(0.3)
    watched.run(3)
    told = [(d["generation"], d["ranks"][0]["stage"]) for d in watched.digests()]
    assert told == [
        (0, "training"),
        (0, "ended"),
        (1, "starting"),
        (1, "training"),
        (1, "ended"),
    ]


def test_what_the_last_second_brought_is_told_at_the_end(watched: Watched) -> None:
    beating = watched.begin(0)
    beating.step()
    watched.run(0.3)
    watched.launcher.write("stopping", generation=0)
    watched.run(0.3)
    beating.heartbeat(loss=3.0)
    watched.run(0.3)
    assert watched.digests()[-1]["ranks"][0]["metrics"] == {}
    watched.insight.finish()
    assert watched.digests()[-1]["ranks"][0]["metrics"] == {"loss": 3.0}


def test_a_failure_of_watching_is_said_once_and_gets_no_further(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched.begin(0)

    def broken(*_: Any) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(insight.GenerationBeats, "sample", broken)
    watched.run(3)
    (note,) = watched.events("note")
    assert note["message"] == "watching the ranks failed: RuntimeError: a defect"


def test_xids_are_noted_up_to_a_flood(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    xid = {"gpu": "0000:3b:00", "number": 79, "message": "GPU has fallen off the bus."}

    class Flood:
        def poll(self) -> list[dict[str, Any]]:
            return [xid] * 30

    watched.insight._xids = Flood()  # type: ignore[assignment]
    watched.run(20)
    found = watched.events("xid")
    assert len(found) == insight.MOST_XIDS
    assert {name: found[0][name] for name in xid} == xid
    assert ["Xids" in note["message"] for note in watched.events("note")] == [True]


def at(kind: str, mono: float, **fields: Any) -> dict[str, Any]:
    return {"seq": 0, "at": 0.0, "mono": mono, "kind": kind, **fields}


def stalled(mono: float, generation: int, action: str, *ranks: int) -> dict[str, Any]:
    silent = [{"local_rank": rank, "limit": 5.0} for rank in ranks]
    return at("stalled", mono, generation=generation, action=action, ranks=silent, message="silent")


def restart(by: str = "on_stall") -> dict[str, Any]:
    return at("restart", 0.0, command="", by=by, reason="", cost=False)


def test_what_was_done_about_stalls_can_be_read_back() -> None:
    events = [stalled(10.0, 0, "restart", 0, 1)]
    stall = PastStall(0, "restart", "silent", 10.0, {0: 5.0, 1: 5.0})
    assert past(events) == Past(stall=stall, stalls=1)
    events += [at("stacks", 11.0, path="p", reason="stall", generation=0), restart()]
    done = past(events)
    assert done.stall is not None and (done.stall.acted, done.stall.stacks) == (True, True)
    assert (done.stall_restarts, done.commands) == (1, frozenset())
    assert past([*events, restart("ada")]).stall_restarts == 1
    assert past([*events, at("recovered", 12.0, generation=0)]).stall is None
    joined = past([*events, stalled(20.0, 0, "warn", 2)]).stall
    assert joined is not None and dict(joined.limits) == {0: 5.0, 1: 5.0, 2: 5.0}
    newer = past([*events, stalled(20.0, 1, "warn", 2)]).stall
    assert newer is not None and dict(newer.limits) == {2: 5.0}


class FakeLauncher:
    process = ProcessId(1, 1, "b")

    def __init__(self) -> None:
        self.fds: list[int] = []
        self.terms = 0

    def ended(self) -> Exit | None:
        return None

    def terminate(self) -> None:
        self.terms += 1


def ending(**fields: Any) -> Ending:
    return Ending(Past(**fields), lambda message: None)


def test_a_failure_waits_for_the_launcher_processes_then_one_sigterm_then_the_grace() -> None:
    mine, launcher = ending(), FakeLauncher()
    mine.fail(Verdict("stalled", 100.0), 30.0, 100.0)
    assert mine.begun and mine.failure == "stalled"
    looks = [mine.is_due(100.0 + second, launcher) for second in range(60)]
    assert looks.index(True) == STOP_PATIENCE + 30
    assert launcher.terms == 1


def test_an_old_failure_gets_no_second_sigterm() -> None:
    mine, launcher = ending(), FakeLauncher()
    mine.fail(Verdict("stalled", 100.0), 30.0, 200.0)
    assert mine.is_due(200.0, launcher)
    assert launcher.terms == 0


def test_who_ended_it_first_counts_and_the_nearer_deadline_holds() -> None:
    mine, launcher = ending(), FakeLauncher()
    mine.fail(Verdict("stalled", 100.0), 300.0, 100.0)
    mine.cancel(101.0, 10.0, launcher)
    assert (mine.failure, mine.cancelled, launcher.terms) == ("stalled", False, 0)
    assert [mine.is_due(now, launcher) for now in (104.0, 106.0, 112.0)] == [False, False, True]
    assert launcher.terms == 1
    mine, launcher = ending(), FakeLauncher()
    mine.cancel(100.0, 50.0, launcher)
    mine.fail(Verdict("stalled", 101.0), 1.0, 101.0)
    assert (mine.failure, mine.cancelled, launcher.terms) == ("", True, 1)
    assert not mine.is_due(149.0, launcher) and mine.is_due(151.0, launcher)


@pytest.mark.parametrize("step", ["prepare", "resume"])
def test_a_failure_before_the_first_look_costs_insight_only(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("a defect")

    with monkeypatch.context() as patch:
        patch.setattr(insight, "XidWatch", broken)
        for _ in range(2):
            getattr(watched.insight, step)()
    watched.run(1)
    (note,) = watched.events("note")
    assert note["message"] == "watching the ranks failed: RuntimeError: a defect"


def test_a_rank_that_a_monitor_of_ft_launcher_gave_up_on_is_a_stall_with_stacks(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def take(folder: str, timeout: float = 2.0) -> dict[str, Any]:
        asked.append(folder)
        return {"taken_at": 1.0, "generation": 0, "ranks": []}

    monkeypatch.setattr("cockpit.node.probing.stacks.take", take)
    mine = watched.begin(0)
    watched.run(0.5, mine)
    told = {"generation": 0, "rank": 0, "local_rank": 0, "pid": 7}
    watched.launcher.write("ft_timeout", **told, message="section 'step' open for 5.1 s")
    watched.launcher.write("ft_timeout", **{**told, "generation": 9}, message="of another one")
    watched.run(2.0, mine)
    (stall,) = watched.events("stalled")
    assert stall["message"] == "rank 0: section 'step' open for 5.1 s"
    assert (stall["action"], [rank["rank"] for rank in stall["ranks"]]) == ("restart", [0])
    eventually(lambda: watched.run(0.3, mine) or watched.events("stacks"), "stacks")
    assert len(asked) == 1
    assert not os.path.exists(watched.place.file(layout.REQUESTS)), "the restart is ft_launcher's"
