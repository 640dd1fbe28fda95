from __future__ import annotations

from typing import Any

import pytest

from cockpit.node.supervise import folding
from cockpit.node.supervise.folding import UNKNOWN_EXIT, Exit, Past
from cockpit.protocol.records import ProcessId


def event(kind: str, mono: float = 0.0, **fields: Any) -> dict[str, Any]:
    return {"seq": 0, "at": 0.0, "mono": mono, "kind": kind, **fields}


PROCESS = {"pid": 7, "start_ticks": 8, "boot_id": "b"}


def test_nothing_has_happened_in_an_empty_journal() -> None:
    assert folding.past([]) == Past()


def test_a_journal_is_folded_up_to_where_its_supervisor_died() -> None:
    state = folding.past(
        [
            event("claimed"),
            event("go", command="g"),
            event("started", process=PROCESS),
            event("log_gap", path="logs/launcher.out", start=0, end=4096),
            event("log_gap", path="logs/launcher.out", start=4096, end=12288),
            event("note", level="warn", message="late", command="w"),
            event("cancel", mono=100.0, command="c1", grace=30),
            event("cancel", mono=101.0, command="c2", grace=5),
            event("cancel", mono=102.0, command="c3", grace=60),
            event("launcher_exited", code=None, signal=15),
            event("swept", processes=[{"pid": 1, "command": "x"}], signal=9),
        ]
    )
    assert state == Past(
        process=ProcessId(7, 8, "b"),
        exit=Exit(None, 15),
        deadline=106.0,
        cancelled=True,
        commands=frozenset({"g", "w", "c1", "c2", "c3"}),
        gaps={"logs/launcher.out": 12288},
        swept=1,
    )


def test_a_cancel_after_the_exit_does_not_make_it_cancelled() -> None:
    state = folding.past(
        [
            event("started", process=PROCESS),
            event("launcher_exited", code=0, signal=None),
            event("cancel", command="c", grace=0),
        ]
    )
    assert state.cancelled is False
    assert state.deadline == 0.0


def test_what_ended_it_before_the_start_is_kept() -> None:
    assert folding.past([event("withdrawn", reason="no go", by="x")]).withdrawn == "no go"
    assert folding.past([event("start_failed", message="m", hint="")]).start_failed == "m"


GROUP_FAILED = event("group", state="FAILED", failures=[])
GROUP_SUCCEEDED = event("group", state="SUCCEEDED", failures=[])


@pytest.mark.parametrize(
    ("ended", "events", "outcome", "words"),
    [
        (Exit(0, None), [], "succeeded", ""),
        (Exit(0, None), [GROUP_SUCCEEDED], "succeeded", ""),
        (Exit(0, None), [GROUP_FAILED], "failed", "FAILED"),
        (Exit(0, None), [GROUP_FAILED, event("generation"), GROUP_SUCCEEDED], "succeeded", ""),
        (Exit(0, None), [GROUP_SUCCEEDED, GROUP_FAILED], "failed", "FAILED"),
        (Exit(1, None), [GROUP_SUCCEEDED], "failed", "code 1"),
        (Exit(None, 9), [GROUP_SUCCEEDED], "failed", "SIGKILL"),
        (Exit(None, 63), [], "failed", "63"),
        (UNKNOWN_EXIT, [GROUP_SUCCEEDED], "succeeded", "unwatched"),
        (UNKNOWN_EXIT, [GROUP_FAILED], "failed", "unknown"),
        (UNKNOWN_EXIT, [], "failed", "unknown"),
    ],
)
def test_exit_and_groups_together_decide(
    ended: Exit, events: list[dict[str, Any]], outcome: str, words: str
) -> None:
    judged, message = folding.judge(ended, events)
    assert judged == outcome
    assert words in message


def test_evidence_of_the_oom_killer_is_told() -> None:
    _, message = folding.judge(Exit(None, 9), [], "kernel log: Killed process 7")
    assert message.endswith("SIGKILL (kernel log: Killed process 7)")


def test_the_launcher_process_introduces_itself() -> None:
    events = [event("hook_missing", name="x"), event("launcher", process=PROCESS)]
    assert folding.launcher_process(events) == ProcessId(7, 8, "b")
    assert folding.launcher_process([]) is None
