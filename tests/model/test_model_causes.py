"""Culprits and victims are told apart by real words of real libraries."""

from __future__ import annotations

import json

import pytest

from cockpit.model import events as ev
from cockpit.model.causes import (
    Guilt,
    first_cause,
    guilt_of,
    process_suspect,
    rank_suspect,
    signal_name,
    words_suspect,
)
from cockpit.model.jobs import JobModel
from cockpit.model.types import Job, JobState
from tests.model.building import running
from tests.model.scenarios import T0, journals, plan, record

VICTIMS = [
    "RuntimeError: [/__w/pytorch/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:553] "
    "Connection closed by peer [127.0.0.1]:22406. This is typically caused by a remote worker "
    "crashing. Check the logs of the remote worker before reporting an error.",
    "RuntimeError: [/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:538] Connection closed by "
    "peer [127.0.0.1]:58054",
    "RuntimeError: [../third_party/gloo/gloo/transport/tcp/pair.cc:589] Read error "
    "[192.168.70.92]:25266: Connection reset by peer",
    "RuntimeError: [/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:427] writev "
    "[10.0.0.2]:4711: Broken pipe",
    "RuntimeError: [gloo/transport/tcp/unbound_buffer.cc:81] Application timeout caused pair "
    "closure",
    "RuntimeError: Gloo connectFullMesh failed with [/pytorch/third_party/gloo/gloo/transport/tcp/"
    "pair.cc:144] no error",
    "torch.distributed.DistBackendError: NCCL error in: /pytorch/torch/csrc/distributed/c10d/"
    "NCCLUtils.hpp:268, remote process exited or there was a network error, NCCL version 2.21.5",
    "ncclRemoteError: A call failed possibly due to a network error or a remote process exiting "
    "prematurely.",
    "socketProgressOpt: Call to recv from 172.0.0.1<33759> failed : Connection reset by peer",
    "Net : Connection closed by remote peer user<50260>",
    "ncclSystemError: System call (e.g. socket, malloc) or external library call failed or device "
    "error. It can be also caused by unexpected exit of a remote peer.",
    "NET/IB : Got completion from peer 10.42.0.2<47534> with error 5, opcode 48, len 32764",
    "NET/OFI Request 0x7f14cc5b60c0 completed with error. RC: 113. Error: 2 (UNDELIVERABLE).",
    "torch.distributed.DistNetworkError: Failed to recv, got 0 bytes. Connection was likely "
    "closed. Did the remote server shutdown or crash?",
    "torch.distributed.DistNetworkError: failed to recv, got 0 bytes",
    "Process 4242 got signal: 15",
    "torch.distributed.elastic.rendezvous.api.RendezvousConnectionError: The connection to the "
    "C10d store has failed. See inner exception for details.",
    "BrokenPipeError: [Errno 32] Broken pipe",
]
CULPRITS = [
    "RuntimeError: boom from rank 3",
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
    "RuntimeError: CUDA error: an illegal memory access was encountered",
    "FileNotFoundError: [Errno 2] No such file or directory: 'data.bin'",
    "ValueError: loss is nan",
    "",
]
UNCLEAR = [
    "[Rank 3] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=14, OpType=ALLREDUCE)",
    "RuntimeError: [/pytorch/gloo/transport/tcp/unbound_buffer.cc:78] Timed out waiting 1800000ms "
    "for recv operation to complete",
    "RendezvousTimeoutError: ",
]


@pytest.mark.parametrize("message", VICTIMS)
def test_words_about_a_peer_that_went_away_mark_a_victim(message: str) -> None:
    assert guilt_of(message) is Guilt.VICTIM


@pytest.mark.parametrize("message", CULPRITS)
def test_any_other_words_mark_a_culprit(message: str) -> None:
    assert guilt_of(message) is Guilt.CULPRIT


@pytest.mark.parametrize("message", UNCLEAR)
def test_a_time_out_may_be_either(message: str) -> None:
    assert guilt_of(message) is Guilt.UNCLEAR


def failure(rank: int, at: float, message: str = "", **fields: object) -> ev.Failure:
    return ev.Failure(rank=rank, local_rank=rank, at=at, message=message, **fields)  # type: ignore[arg-type]


def suspect(item: ev.Failure, node: str = "gpu01"):  # type: ignore[no-untyped-def]
    return rank_suspect(item, node, 0, item.at)


def test_a_later_culprit_goes_before_earlier_victims() -> None:
    suspects = [
        suspect(failure(0, 1.0, VICTIMS[0], exit_code=1)),
        suspect(failure(3, 1.002, "ValueError: x", exit_code=7)),
        suspect(failure(1, 0.9, "", signal=15)),
    ]
    cause = first_cause(suspects)
    assert cause is not None
    assert (cause.kind, cause.rank, cause.exit_code) == ("exit", 3, 7)
    assert cause.message == "ValueError: x"
    assert first_cause(reversed(suspects)) == cause


def test_the_earliest_of_victims_is_named_where_nobody_else_is_known() -> None:
    suspects = [suspect(failure(rank, 5.0 - rank, VICTIMS[rank], exit_code=1)) for rank in (0, 1)]
    cause = first_cause(suspects)
    assert cause is not None and cause.rank == 1


def test_nothing_wrong_has_no_cause() -> None:
    assert first_cause([]) is None


def test_a_watchdogs_abort_gives_way_to_a_killed_rank() -> None:
    cause = first_cause(
        [suspect(failure(0, 1.0, "", signal=6)), suspect(failure(2, 1.5, "", signal=9))]
    )
    assert cause is not None
    assert (cause.kind, cause.signal, cause.message) == ("signal", 9, "killed by SIGKILL")


def test_a_signal_given_as_a_negative_exit_code_is_a_signal() -> None:
    cause = suspect(failure(0, 1.0, "", exit_code=-11)).cause
    assert (cause.kind, cause.signal, cause.exit_code) == ("signal", 11, None)
    assert cause.message == "killed by SIGSEGV"


def test_evidence_makes_a_kill_an_oom_kill() -> None:
    item = failure(0, 1.0, "", signal=9, oom=True, evidence="the cgroup counts 1 OOM kill")
    cause = suspect(item).cause
    assert (cause.kind, cause.signal) == ("oom", 9)
    assert cause.message == ("killed by the kernel: out of memory (the cgroup counts 1 OOM kill)")


def test_a_rank_that_said_nothing_is_described_by_its_code() -> None:
    assert suspect(failure(0, 1.0, "", exit_code=3)).cause.message == "exited with code 3"


@pytest.mark.parametrize(
    ("code", "number", "oom", "launcher", "kind", "message"),
    [
        (None, 9, False, True, "signal", "the launcher process was killed by SIGKILL"),
        (
            None,
            9,
            True,
            True,
            "oom",
            "the launcher process was killed by the kernel: out of memory",
        ),
        (1, None, False, True, "launcher", "the launcher process exited with code 1"),
        (7, None, False, False, "exit", "exited with code 7"),
        (None, 11, False, False, "signal", "killed by SIGSEGV"),
    ],
)
def test_the_end_of_a_launcher_process_and_of_a_plain_command_read_differently(
    code: int | None, number: int | None, oom: bool, launcher: bool, kind: str, message: str
) -> None:
    exited = ev.LauncherExited(
        seq=0, at=1.0, kind="launcher_exited", code=code, signal=number, oom=oom
    )
    cause = process_suspect(exited, "gpu01", None, 1.0, launcher=launcher).cause
    assert (cause.kind, cause.message, cause.exit_code) == (kind, message, code)


def test_words_are_judged_unless_the_caller_knows_better() -> None:
    assert words_suspect("launcher", "a", VICTIMS[0], 1.0).guilt is Guilt.VICTIM
    known = words_suspect("launcher", "a", VICTIMS[0], 1.0, guilt=Guilt.CULPRIT)
    assert known.guilt is Guilt.CULPRIT


def test_signals_without_a_name_are_shown_by_number() -> None:
    assert signal_name(9) == "SIGKILL"
    assert signal_name(63) == "signal 63"


@pytest.mark.parametrize("number", [6, 15])
def test_a_rank_that_raised_is_judged_by_its_words_whatever_ended_its_process(number: int) -> None:
    raised = suspect(failure(0, 1.0, "ValueError: x", exception="ValueError", signal=number))
    assert raised.guilt is Guilt.CULPRIT
    assert (raised.cause.kind, raised.cause.message) == ("exit", "ValueError: x")
    victim = suspect(failure(0, 1.0, VICTIMS[0], exception="RuntimeError", signal=number))
    assert victim.guilt is Guilt.VICTIM


def test_a_launcher_process_that_vanished_unwatched_is_the_cause_and_not_its_peers() -> None:
    found = journals("rank_raises")
    launcher = found[0, 1, "launcher"].splitlines(keepends=True)
    kept = [line for line in launcher if json.loads(line)["kind"] in ("launcher", "generation")]
    supervisor = [json.loads(line) for line in found[0, 1, "events"].splitlines()]
    before = [event for event in supervisor if event["kind"] in ("claimed", "go", "started")]
    stamp = {"at": T0 + 60.0, "mono": 60.0}
    process = {"pid": 7, "start_ticks": 1, "boot_id": "b"}
    after = [
        {"kind": "adopted", "supervisor": process, "launcher_alive": False},
        {"kind": "launcher_exited", "code": None, "signal": None, "oom": False},
        {
            "kind": "ended",
            "outcome": "failed",
            "code": None,
            "signal": None,
            "left": [],
            "swept": 2,
            "message": "the launcher process ended while no supervisor watched it",
            "launcher_size": len(b"".join(kept)),
        },
    ]
    events = before + [{"seq": len(before) + n, **stamp, **e} for n, e in enumerate(after)]
    job = JobModel(record())
    job.plan(plan(2))
    for node_rank in (0, 1):
        for journal in ("events", "launcher"):
            data = found[0, node_rank, journal]
            if node_rank == 1:
                texts = [json.dumps(event).encode() + b"\n" for event in events]
                data = b"".join(texts if journal == "events" else kept)
            job.feed(0, node_rank, journal, 0, data)
    seen = job.snapshot(T0 + 100.0)
    assert seen.state is JobState.FAILED
    assert seen.cause is not None
    assert (seen.cause.kind, seen.cause.node) == ("launcher", "gpu02")


# -- a disk that is full ---------------------------------------------------------------------------


def cut_off(*, note: bool = True) -> Job:
    """The disk of gpu02 filled up before its launcher process could tell of the generation."""
    cluster = running()
    del cluster.events[0, 1, "launcher"][1:]
    if note:
        words = "no space left on the file system of /s: logs are cut off"
        cluster.say(1, "events", 5.0, "note", level="warn", message=words, about="no_space")
    cluster.say(0, "launcher", 7.0, "group", generation=0, state="SUCCEEDED")
    cluster.end_node(0, 9.0, "succeeded", 0)
    cluster.say(1, "events", 8.0, "launcher_exited", code=1, signal=None, oom=False)
    cluster.say(1, "events", 8.1, "ended", outcome="failed", code=1, signal=None, launcher_size=0)
    return cluster.job()


def test_a_node_that_failed_is_the_cause_though_it_does_not_say_in_which_round() -> None:
    job = cut_off(note=False)
    assert (job.state, job.cause and job.cause.node) == (JobState.FAILED, "gpu02")
    assert job.cause is not None
    assert job.cause.message == "the launcher process exited with code 1"
    assert "clocks" not in job.cause.message


def test_a_failure_without_evidence_on_a_full_disk_is_put_down_to_the_disk() -> None:
    bare, explained = cut_off(note=False).cause, cut_off().cause
    assert bare is not None
    assert explained is not None
    assert (bare.label, explained.label) == ("", "disk full")
    assert "df -h" in explained.hint


def test_a_failure_that_says_why_keeps_its_own_words_on_a_full_disk() -> None:
    cluster = running()
    cluster.say(0, "events", 4.0, "note", level="warn", message="full", about="no_space")
    words = {
        "exception": "OutOfMemoryError",
        "message": "torch.OutOfMemoryError: CUDA out of memory",
    }
    cluster.failed(0, 5.0, 0, {"local_rank": 0, **words})
    cause = cluster.end(9.0).job().cause
    assert cause is not None
    assert cause.label == "GPU out of memory"
