"""The agent's own limit of open files, and everybody else's."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from cockpit.node import openfiles
from tests.node.agent_client import AgentClient
from tests.node.supervising import Node

FEW = 300


@pytest.fixture
def few() -> Iterator[int]:
    """This process, and whoever it starts, may open FEW files; gives the hard limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (FEW, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def client(few: int, supervised_node: Node) -> Iterator[AgentClient]:
    client = AgentClient(supervised_node.state_dir)
    client.hello()
    yield client
    client.stop()


def limits(pid: int) -> tuple[int, int]:
    return resource.prlimit(pid, resource.RLIMIT_NOFILE)


def test_an_agent_follows_more_files_than_the_soft_limit_allows(
    few: int, client: AgentClient, supervised_node: Node
) -> None:
    assert limits(client.process.pid) == (min(few, openfiles.ENOUGH), few)
    for number in range(FEW + 50):
        Path(supervised_node.state_dir, f"{number}.out").write_bytes(b"one line")
        assert client.follow(f"{number}.out").until(8) == b"one line"


def test_a_job_runs_under_the_users_own_limit(
    few: int, client: AgentClient, supervised_node: Node
) -> None:
    attempt = supervised_node.python("""
        import os, resource
        with open(os.environ["COCKPIT_ATTEMPT_DIR"] + "/limits", "w") as file:
            print(*resource.getrlimit(resource.RLIMIT_NOFILE), file=file)
    """)
    client.call("prepare", job=attempt.job, record=attempt.record, secrets={})
    attempt.command("go")
    assert attempt.wait_for_file("limits") == f"{FEW} {few}\n"
    attempt.ended()


def test_a_command_runs_under_the_users_own_limit(few: int, client: AgentClient) -> None:
    stream = client.request("exec", argv=["sleep", "600"])
    assert limits(client.answer(stream)["pid"]) == (FEW, few)
    client.close_stream(stream)
    client.end(stream)


def test_a_limit_that_is_high_enough_stays(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openfiles, "ENOUGH", FEW - 1)
    monkeypatch.setattr(openfiles._Own, "limits", None)
    openfiles.raise_limit()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (FEW, few)
    assert openfiles.environment() == {}
