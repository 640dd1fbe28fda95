"""What a supervisor tells about its ranks, and does about those that hang."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from cockpit.node.journal import Journal
from cockpit.node.supervise import slots
from cockpit.protocol import layout
from cockpit.protocol.records import Watch
from tests.node.beating import training
from tests.node.supervising import ROOT, Node, eventually

LIMIT = 4.0
"""Seconds that a rank may be silent where it matters: much longer than a busy machine takes to let
one that beats fifty times a second have its turn."""


def test_ranks_that_beat_are_told_with_stage_step_and_times(supervised_node: Node) -> None:
    attempt = training(supervised_node)
    digest = attempt.wait_for_stages("training", "training")
    digest = eventually(
        lambda: next((d for d in attempt.digests() if d["ranks"][0]["interval"]), None), "interval"
    )
    first = digest["ranks"][0]
    assert (digest["kind"], digest["generation"]) == ("beats", 0)
    assert [(rank["local_rank"], rank["rank"]) for rank in digest["ranks"]] == [(0, 4), (1, 5)]
    assert first["step"] > 0 and first["beats"] > first["step"]
    assert 0 <= first["age"] < 30 and first["limit"] == 120.0
    assert 0.01 < first["interval"] < 10
    assert first["own"] == pytest.approx(0.002, rel=0.01)
    assert 0 < first["metrics"]["loss"] <= 1 and first["metrics"]["broken"] == "nan"
    assert (first["note"], first["ft"]) == ("", None)
    assert oct(attempt.slots().stat().st_mode & 0o777) == "0o700"
    attempt.do("end")
    assert attempt.ended()["outcome"] == "succeeded"
    digests = attempt.digests()
    assert {rank["stage"] for rank in digests[-1]["ranks"]} == {"ended"}
    assert [digest["seq"] for digest in digests] == list(range(len(digests)))
    assert not attempt.slots().exists()


def test_a_rank_that_hangs_is_declared_once_with_stacks_and_recovers(
    supervised_node: Node,
) -> None:
    attempt = training(supervised_node, timeout=LIMIT)
    attempt.wait_for_stages("training", "training")
    attempt.do("hang", 0, 1)
    digest = attempt.wait_for_stages("training", "silent")
    assert digest["ranks"][1]["age"] > LIMIT == digest["ranks"][1]["limit"]
    stalled = attempt.wait("stalled")
    assert (stalled["generation"], stalled["action"]) == (0, "warn")
    (silent,) = stalled["ranks"]
    assert (silent["rank"], silent["local_rank"], silent["first"]) == (5, 1, False)
    assert silent["pid"] == digest["ranks"][1]["pid"]
    assert silent["step"] == digest["ranks"][1]["step"]
    assert silent["age"] > silent["limit"] == LIMIT
    assert stalled["message"].startswith("rank 5 has been silent for ")
    stacks = attempt.wait("stacks")
    assert (stacks["path"], stacks["reason"], stacks["generation"]) == (
        layout.kept_stacks(0),
        "stall",
        0,
    )
    kept = json.loads((attempt.folder / stacks["path"]).read_text())
    assert [rank["local_rank"] for rank in kept["ranks"]] == [0, 1]
    attempt.do("beat", 0, 1)
    assert attempt.wait("recovered")["generation"] == 0
    attempt.do("end")
    attempt.do("end", 0, 1)
    assert attempt.ended()["outcome"] == "succeeded"
    assert len(attempt.all_of("stalled")) == len(attempt.all_of("recovered")) == 1
    assert attempt.requests() == []


def test_a_rank_without_a_first_beat_has_a_limit_of_its_own(supervised_node: Node) -> None:
    attempt = training(supervised_node, count=1, first="hang", initial_timeout=1.0, timeout=600.0)
    (rank,) = attempt.wait_for_stages("silent")["ranks"]
    assert (rank["beats"], rank["step"], rank["age"], rank["limit"]) == (0, None, None, 1.0)
    stalled = attempt.wait("stalled")
    assert stalled["ranks"][0]["first"] and "not beaten once" in stalled["message"]
    attempt.do("beat")
    assert attempt.wait_for_stages("training")["ranks"][0]["limit"] == 600.0
    attempt.wait("recovered")


@pytest.mark.parametrize("why", ["no slot", "not asked for"])
def test_ranks_that_never_beat_are_no_stall(supervised_node: Node, why: str) -> None:
    attempt = training(
        supervised_node,
        first="mute",
        initial_timeout=0.1,
        timeout=0.1,
        instrument=why == "no slot",
    )
    attempt.wait_for_stages("none", "none")
    assert attempt.slots().exists() == (why == "no slot")
    time.sleep(1.0)
    attempt.do("end")
    assert attempt.ended()["outcome"] == "succeeded"
    assert "stalled" not in attempt.kinds()


def test_ranks_that_came_to_their_end_do_not_stall_while_others_go_on(
    supervised_node: Node,
) -> None:
    attempt = training(supervised_node, timeout=LIMIT)
    attempt.wait_for_stages("training", "training")
    attempt.do("end", 0, 0)
    attempt.wait_for_stages("ended", "training")
    time.sleep(LIMIT + 1.0)
    attempt.do("end")
    attempt.ended()
    assert "stalled" not in attempt.kinds()


def test_a_stall_restarts_the_ranks_as_often_as_it_may_and_then_ends_the_job(
    supervised_node: Node,
) -> None:
    attempt = training(
        supervised_node,
        timeout=LIMIT,
        on_stall="restart",
        max_stall_restarts=1,
        count_restarts=True,
    )
    attempt.wait_for_stages("training", "training")
    attempt.do("hang", 0, 0)
    restart = attempt.wait("restart")
    (stalled,) = attempt.all_of("stalled")
    assert (restart["command"], restart["by"], restart["cost"]) == ("", "on_stall", True)
    assert restart["reason"] == stalled["message"]
    (request,) = attempt.requests()
    assert {name: request[name] for name in ("do", "generation", "by", "cost")} == {
        "do": "restart",
        "generation": 0,
        "by": "on_stall",
        "cost": True,
    }
    eventually(lambda: attempt.digests()[-1]["generation"] == 1, "the next generation")
    old = [digest for digest in attempt.digests() if digest["generation"] == 0]
    assert {rank["stage"] for rank in old[-1]["ranks"]} == {"ended"}
    attempt.wait_for_stages("training", "training")
    attempt.do("hang", 1, 1)
    ended = attempt.ended()
    assert (ended["outcome"], ended["code"]) == ("failed", 1)
    assert ended["message"].startswith("stalled: rank 5 has been silent for ")
    assert "1 restarts after stalls have not helped" in ended["message"]
    assert [event["action"] for event in attempt.all_of("stalled")] == ["restart", "cancel"]
    assert [event["generation"] for event in attempt.all_of("stacks")] == [0, 1]
    assert [request["do"] for request in attempt.requests()] == ["restart", "stop"]
    assert len(attempt.all_of("restart")) == 1
    assert not attempt.slots().exists()


def test_a_stall_whose_restart_is_refused_ends_the_job(supervised_node: Node) -> None:
    attempt = training(supervised_node, timeout=LIMIT, on_stall="restart")
    (supervised_node.work / "refuse").touch()
    attempt.wait_for_stages("training", "training")
    attempt.do("hang")
    ended = attempt.ended()
    assert (ended["outcome"], ended["code"]) == ("failed", 1)
    assert ended["message"].startswith("stalled: ranks 4-5 have been silent for ")
    assert ended["message"].endswith("the ranks are not restarted: they would be missed")
    assert [request["do"] for request in attempt.requests()] == ["stop", "restart"]
    assert len(attempt.all_of("stalled")) == 1


def test_a_launcher_process_that_does_not_end_a_stalled_job_gets_one_sigterm(
    supervised_node: Node,
) -> None:
    attempt = training(supervised_node, timeout=LIMIT, on_stall="cancel")
    (supervised_node.work / "deaf").touch()
    attempt.wait_for_stages("training", "training")
    attempt.do("hang")
    ended = attempt.ended()
    assert (ended["outcome"], ended["signal"], ended["left"]) == ("failed", signal.SIGTERM, [])
    assert ended["message"].startswith("stalled: ranks 4-5 have been silent for ")
    assert [request["do"] for request in attempt.requests()] == ["stop"]
    assert attempt.scan() == []


def test_silence_while_a_job_is_being_cancelled_is_no_stall(supervised_node: Node) -> None:
    attempt = supervised_node.python(
        """
        import os, signal, sys, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        sys.path.insert(0, sys.argv[1])
        from cockpit.node.journal import Journal
        from cockpit.node.launch.recorder import process
        from cockpit.node.rank.slot import Slot
        mine = Slot(os.environ["COCKPIT_SLOTS"] + "/0.0", 0)
        journal = Journal(os.environ["COCKPIT_ATTEMPT_DIR"] + "/launcher.jsonl")
        rank = {"rank": 0, "local_rank": 0, "process": process(os.getpid()), "out": "", "err": ""}
        journal.write("generation", generation=0, ranks=[rank])
        mine.step()
        print("up", flush=True)
        time.sleep(600)
        """,
        ROOT,
        kind="torchrun",
        watch=Watch(timeout=LIMIT, interval=0.1, on_stall="cancel"),
    ).run()
    attempt.wait_for_file("logs/launcher.out")
    attempt.command("cancel", grace=LIMIT + 2.0)
    assert attempt.ended()["outcome"] == "cancelled"
    assert "stalled" not in attempt.kinds()


def test_an_adopter_carries_on_in_the_middle_of_a_stall(supervised_node: Node) -> None:
    attempt = training(supervised_node, timeout=LIMIT)
    attempt.wait_for_stages("training", "training")
    attempt.do("hang", 0, 0)
    attempt.wait("stacks")
    seq = attempt.digests()[-1]["seq"]
    attempt.kill_supervisor()
    supervised_node.ensure_supervised()
    eventually(lambda: attempt.digests()[-1]["seq"] > seq + 1, "digests of the adopter")
    attempt.wait_for_stages("silent", "training")
    assert len(attempt.all_of("stalled")) == 1
    attempt.do("beat", 0, 0)
    attempt.wait("recovered")
    attempt.do("hang", 0, 0)
    eventually(lambda: len(attempt.all_of("stalled")) == 2, "the second stall")
    attempt.do("end", 0, 0)
    attempt.do("end")
    assert attempt.ended()["outcome"] == "succeeded"
    assert not attempt.slots().exists()


def test_an_adopter_does_what_its_predecessor_only_decided(supervised_node: Node) -> None:
    attempt = training(supervised_node, timeout=600.0, on_stall="restart")
    attempt.wait_for_stages("training", "training")
    attempt.do("hang")
    eventually(lambda: attempt.digests()[-1]["ranks"][0]["age"] > 2.0, "silence")
    attempt.kill_supervisor()
    events = Journal(str(attempt.folder / layout.EVENTS))
    rank = {"rank": 4, "local_rank": 0, "pid": 1, "step": 1, "age": 9.0, "limit": 2.0}
    events.write(
        "stalled",
        generation=0,
        ranks=[{**rank, "first": False}],
        action="restart",
        message="rank 4 has been silent",
    )
    events.close()
    supervised_node.ensure_supervised()
    assert attempt.wait("restart")["reason"] == "rank 4 has been silent"
    eventually(lambda: attempt.digests()[-1]["generation"] == 1, "the next generation")


def test_an_operator_restarts_the_ranks(supervised_node: Node) -> None:
    attempt = training(supervised_node)
    attempt.wait_for_stages("training", "training")
    attempt.command("restart", id="again", reason="new data", cost=True)
    restart = attempt.wait("restart")
    assert {name: restart[name] for name in ("command", "by", "reason", "cost")} == {
        "command": "again",
        "by": "ada@laptop",
        "reason": "new data",
        "cost": True,
    }
    eventually(lambda: attempt.digests()[-1]["generation"] == 1, "the next generation")
    (request,) = attempt.requests()
    assert (request["id"], request["do"], request["generation"]) == ("again", "restart", None)
    attempt.kill_supervisor()
    supervised_node.ensure_supervised()
    attempt.command("restart", id="again")
    attempt.do("end")
    attempt.ended()
    assert len(attempt.all_of("restart")) == 1


def test_ranks_that_cannot_be_restarted_are_not(supervised_node: Node) -> None:
    attempt = supervised_node.python("import time; time.sleep(600)")
    attempt.prepare()
    attempt.command("restart", id="early")
    early = attempt.wait("note")
    attempt.command("go")
    attempt.wait("started")
    attempt.command("restart", id="late")
    eventually(lambda: attempt.kinds().count("note") == 2, "the second note")
    late = attempt.events()[-1]
    assert (early["command"], late["command"]) == ("early", "late")
    assert "nothing has been started" in early["message"]
    assert "a command has none" in late["message"]
    assert not (attempt.folder / layout.REQUESTS).exists()


def test_what_shared_memory_cannot_hold_lies_in_the_attempts_folder(
    supervised_node: Node, tmp_path: Path
) -> None:
    attempt = supervised_node.python("pass")
    target = tmp_path / "elsewhere"
    target.mkdir()
    blocked = attempt_slots = Path(layout.slots_dir(os.geteuid(), attempt.place.marker))
    blocked.parent.mkdir(mode=0o700, exist_ok=True)
    blocked.symlink_to(target)
    attempt.folder.mkdir(parents=True)
    try:
        assert slots.make(attempt.place) == str(attempt.folder / "slots")
        assert slots.find(attempt.place) == str(attempt.folder / "slots")
        slots.remove(str(blocked))
        assert blocked.is_symlink() and target.is_dir()
    finally:
        attempt_slots.unlink()
    slots.remove(str(attempt.folder / "slots"))
    assert slots.find(attempt.place) == ""
