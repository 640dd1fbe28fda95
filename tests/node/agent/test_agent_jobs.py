"""`jobs`, `watch_jobs`, `prepare`, `command`, `scan`, `clean`: with real supervisors."""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cockpit.node.agent import jobs
from cockpit.node.agent.jobs import CLAIM_PATIENCE
from cockpit.node.statedir import Node as Folder
from cockpit.protocol import layout
from cockpit.protocol.frames import Kind
from tests.node.agent_client import PYTHONS, AgentClient, Failed
from tests.node.supervising import ROOT, WAIT, Attempt, Node, eventually


@pytest.fixture(params=PYTHONS, ids=lambda path: "oldest" if path != PYTHONS[0] else "this")
def client(request: pytest.FixtureRequest, supervised_node: Node) -> Iterator[AgentClient]:
    """An agent on a node with supervisors."""
    client = AgentClient(supervised_node.state_dir, request.param)
    client.hello()
    yield client
    client.stop()


def sleeping(node: Node, **fields: Any) -> Attempt:
    return node.python("import time; print('on', flush=True); time.sleep(600)", **fields)


def prepare(client: AgentClient, attempt: Attempt) -> dict[str, Any]:
    return client.call("prepare", job=attempt.job, record=attempt.record, secrets={})


def command(client: AgentClient, attempt: Attempt, do: str, **fields: Any) -> dict[str, Any]:
    return client.call(
        "command",
        job=attempt.place.job,
        attempt=attempt.place.attempt,
        node_rank=attempt.place.node_rank,
        id=uuid.uuid4().hex,
        do=do,
        by="ada@laptop",
        **fields,
    )


def only(answer: dict[str, Any]) -> dict[str, Any]:
    (entry,) = answer["jobs"]
    return entry


def test_a_job_is_prepared_started_listed_cancelled_and_cleaned(
    supervised_node: Node, client: AgentClient
) -> None:
    attempt = sleeping(supervised_node)
    job = attempt.place.job
    watch = client.request("watch_jobs", interval=0.2)
    assert client.answer(watch) == {}
    assert client.event(watch) == {"jobs": []}

    assert prepare(client, attempt)["claimed"] is True
    with pytest.raises(Failed) as failed:
        prepare(client, attempt)
    assert failed.value.code == "already_claimed"
    entry = only(client.call("jobs"))
    assert entry["job"]["id"] == job
    assert entry["attempts"][0]["supervised"] is True
    assert entry["attempts"][0]["plan"]["node_rank"] == 0
    assert entry["attempts"][0]["events"]["kind"] == "claimed"

    assert command(client, attempt, "go") == {"accepted": True}
    attempt.wait("started")
    eventually(lambda: client.call("scan", job=job)["processes"], "the process")
    assert client.call("scan", job=job, attempt=0, node_rank=0)["processes"]
    assert client.call("scan", job=job, attempt=1)["processes"] == []
    with pytest.raises(Failed, match="still in use") as failed:
        client.call("clean", job=job)
    assert failed.value.code == "still_running"

    command(client, attempt, "cancel", grace=5.0)
    attempt.ended()
    while True:
        entry = only(client.event(watch))
        if entry["attempts"] and (entry["attempts"][0]["events"] or {}).get("kind") == "ended":
            break
    assert entry["attempts"][0]["supervised"] is False
    assert client.call("scan", job=job)["processes"] == []
    assert client.call("clean", job=job)["freed"] > 0
    assert client.call("jobs") == {"jobs": []}
    client.close_stream(watch)
    client.end(watch)


def test_an_agent_that_starts_adopts_what_has_lost_its_supervisor(supervised_node: Node) -> None:
    attempt = sleeping(supervised_node).run()
    attempt.kill_supervisor()
    client = AgentClient(supervised_node.state_dir)
    client.hello()
    attempt.wait("adopted")
    assert only(client.call("jobs"))["attempts"][0]["supervised"] is True
    client.stop()


def test_jobs_whose_agent_dies_run_on(supervised_node: Node, client: AgentClient) -> None:
    attempt = sleeping(supervised_node)
    prepare(client, attempt)
    command(client, attempt, "go")
    attempt.wait("started")
    client.process.kill()
    client.process.wait(WAIT)
    time.sleep(0.3)
    assert attempt.scan()
    assert attempt.event("ended") is None


def test_work_on_the_node_is_finished_after_the_controller_has_hung_up(
    supervised_node: Node, client: AgentClient
) -> None:
    """A start that is under way is no half start."""
    attempt = sleeping(supervised_node)
    client.request("prepare", job=attempt.job, record=attempt.record, secrets={})
    assert client.hang_up() == 0
    attempt.wait("claimed")


def fake_job(state_dir: Path, job: str, created_at: float, **fields: Any) -> Path:
    folder = state_dir / layout.job_dir(job)
    folder.mkdir(parents=True)
    document = {"id": job, "created_at": created_at, **fields}
    (folder / "job.json").write_text(json.dumps(document))
    return folder


def test_jobs_come_newest_first_with_their_newest_whole_event(
    state_dir: Path, agent: AgentClient
) -> None:
    fake_job(state_dir, "0" * 12, 5.0)
    folder = fake_job(state_dir, "1" * 12, 6.0) / "attempts/0/nodes/3"
    folder.mkdir(parents=True)
    events = [{"seq": n, "at": 1.0, "mono": 1.0, "kind": "note", "n": n} for n in range(3)]
    text = "\n".join(map(json.dumps, events)) + '\n\ndamaged\n{"seq": 3, "kind": "to'
    (folder / "events.jsonl").write_text(text)
    os.utime(folder, (time.time() - 3600.0,) * 2)
    jobs = agent.call("jobs")["jobs"]
    assert [entry["id"] for entry in jobs] == ["1" * 12, "0" * 12]
    assert jobs[0]["attempts"] == [
        {"attempt": 0, "node_rank": 3, "plan": None, "events": events[2], "supervised": False}
    ]


@pytest.mark.parametrize("skew", [0.0, 2.0])
def test_an_attempt_whose_supervisor_is_still_to_claim_it_is_not_called_unwatched(
    state_dir: Path, one_agent: AgentClient, skew: float
) -> None:
    folder = fake_job(state_dir, "0" * 12, 5.0) / "attempts/0/nodes/0"
    folder.mkdir(parents=True)
    os.utime(folder, (time.time() + skew,) * 2)
    (attempt,) = only(one_agent.call("jobs"))["attempts"]
    assert "supervised" not in attempt


def test_an_attempt_that_nobody_ever_claims_is_called_unwatched_in_the_end(
    state_dir: Path, one_agent: AgentClient
) -> None:
    folder = fake_job(state_dir, "0" * 12, 5.0) / "attempts/0/nodes/0"
    folder.mkdir(parents=True)
    os.utime(folder, (time.time() - CLAIM_PATIENCE + 2.0,) * 2)
    watch = one_agent.request("watch_jobs", interval=0.2)
    one_agent.answer(watch)
    seen = []
    while not seen or "supervised" not in seen[-1]:
        seen += only(one_agent.event(watch))["attempts"]
    assert seen[-1]["supervised"] is False


def test_a_supervisor_that_ends_its_attempt_during_a_scan_is_not_called_lost(
    supervised_node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = supervised_node.python("import time; time.sleep(600)").run()
    newest = jobs._newest_event

    def read_while_it_ends(path: str) -> Any:
        event = newest(path)
        attempt.command("cancel", reason="", grace=1.0)
        attempt.ended()
        return event

    monkeypatch.setattr(jobs, "_newest_event", read_while_it_ends)
    scanner = jobs.Scanner(Folder("n0", str(supervised_node.state_dir), ROOT))
    (entry,) = scanner.scan().entries
    (found,) = entry["attempts"]
    assert found["events"]["kind"] != "ended"
    assert found["supervised"] is True


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"created_at": NaN}', "\x00", "missing"])
def test_a_damaged_job_is_listed_with_what_is_wrong_and_hides_no_other(
    state_dir: Path, one_agent: AgentClient, damage: str
) -> None:
    fake_job(state_dir, "0" * 12, 5.0)
    bad = fake_job(state_dir, "f" * 12, 6.0) / "job.json"
    if damage == "missing":
        bad.unlink()
    else:
        bad.write_text(damage)
    (state_dir / "jobs" / "not-a-job").mkdir()
    jobs = {entry["id"]: entry for entry in one_agent.call("jobs")["jobs"]}
    assert jobs.keys() == {"0" * 12, "f" * 12}
    assert jobs["f" * 12]["job"] is None
    assert "job.json" in jobs["f" * 12]["damaged"]
    assert jobs["0" * 12]["job"]["created_at"] == 5.0


def test_a_read_only_jobs_folder_can_be_listed(state_dir: Path, one_agent: AgentClient) -> None:
    fake_job(state_dir, "0" * 12, 5.0)
    os.chmod(state_dir / "jobs", 0o500)
    assert only(one_agent.call("jobs"))["id"] == "0" * 12
    os.chmod(state_dir / "jobs", 0o700)


def test_watch_jobs_tells_of_changes_only(state_dir: Path, one_agent: AgentClient) -> None:
    fake_job(state_dir, "0" * 12, 5.0)
    watch = one_agent.request("watch_jobs", interval=0.2)
    one_agent.answer(watch)
    assert only(one_agent.event(watch))["id"] == "0" * 12
    assert one_agent.waiting(watch, 1.0) is None
    fake_job(state_dir, "1" * 12, 6.0)
    assert len(one_agent.event(watch)["jobs"]) == 2
    one_agent.close_stream(watch)
    assert one_agent.next(watch).kind == Kind.END


def test_more_jobs_than_fit_into_an_answer_are_counted(
    state_dir: Path, one_agent: AgentClient
) -> None:
    for n in range(12):
        fake_job(state_dir, f"{n:012x}", float(n), env={"BIG": "x" * 1_000_000})
    answer = one_agent.call("jobs")
    assert answer["jobs"][0]["id"] == f"{11:012x}"
    assert len(answer["jobs"]) + answer["omitted"] == 12
    assert answer["omitted"] > 0


@pytest.mark.parametrize("arguments", [{"job": "0" * 12}, {"digest": "0" * 64}])
def test_what_is_not_there_cannot_be_cleaned(
    one_agent: AgentClient, arguments: dict[str, str]
) -> None:
    with pytest.raises(Failed) as failed:
        one_agent.call("clean", **arguments)
    assert failed.value.code == "not_found"


def test_code_is_cleaned_unless_a_job_that_uses_it_runs(
    supervised_node: Node, client: AgentClient
) -> None:
    code = supervised_node.store_code("a" * 64, {"train.py": "", "pkg/data": "x" * 100_000})
    os.chmod(supervised_node.state_dir / "code" / code.digest / "pkg", 0o500)
    attempt = sleeping(supervised_node, code=code)
    prepare(client, attempt)
    with pytest.raises(Failed) as failed:
        client.call("clean", digest=code.digest)
    assert failed.value.code == "still_running"
    command(client, attempt, "withdraw", reason="a test")
    attempt.ended()
    assert client.call("clean", digest=code.digest)["freed"] >= 100_000
    assert not (supervised_node.state_dir / "code" / code.digest).exists()


def test_the_job_runs_under_its_own_python_and_not_the_agents(
    supervised_node: Node, client: AgentClient
) -> None:
    attempt = supervised_node.python("import sys; print(sys.executable)")
    prepare(client, attempt)
    command(client, attempt, "go")
    attempt.ended()
    path = attempt.folder.relative_to(supervised_node.state_dir) / "logs/launcher.out"
    expected = f"{sys.executable}\n".encode()
    assert client.follow(str(path)).until(len(expected)) == expected
