"""The table of `cockpit.protocol.messages` against what a real agent answers."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import re
import sys
import tarfile
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from cockpit.node.agent.operations import Operations
from cockpit.node.agent.streams import Services
from cockpit.protocol import messages, records
from cockpit.protocol.frames import Kind
from tests.node.agent_client import AgentClient
from tests.node.supervising import Node, eventually

Shape = dict[str, Any]
"""Key -> shape of its object (or of the objects in its list), None for anything else. A key that
may be missing ends with `?`."""

KINDS = {"REPLY": Kind.REPLY, "EVENT": Kind.EVENT, "END": Kind.END}


def balanced(text: str) -> str:
    """The object with whose brace `text` begins."""
    depth = 0
    for position, letter in enumerate(text):
        depth += (letter == "{") - (letter == "}")
        if not depth:
            return text[: position + 1]
    raise AssertionError(f"no end: {text}")


def shape(text: str) -> Shape:
    """`{a, b?: [{c}]}` as a Shape."""
    inner, depth, parts = text[1:-1], 0, [""]
    for letter in inner:
        depth += (letter in "{[(") - (letter in "}])")
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    found: Shape = {}
    for part in filter(None, map(str.strip, parts)):
        key, _, value = part.partition(":")
        nested = value.strip().lstrip("[")
        found[key.partition(" ")[0]] = shape(balanced(nested)) if nested[:1] == "{" else None
    return found


def table() -> dict[str, dict[int, Shape]]:
    """op -> kind of frame -> what it holds."""
    rows = re.findall(r"^\| (\w+) \|.*?\| (.*) \|$", str(messages.__doc__), re.MULTILINE)
    found: dict[str, dict[int, Shape]] = {}
    for op, answer in rows:
        if op == "op":
            continue
        found[op] = {Kind.REPLY: shape(balanced(answer))} if answer.startswith("{") else {}
        for match in re.finditer(r"(REPLY|EVENT|END) (?=\{)", answer):
            found[op][KINDS[match[1]]] = shape(balanced(answer[match.end() :]))
    return found


TABLE = table()


def check(expected: Shape, value: Any, where: str) -> None:
    if isinstance(value, list):
        for item in value:
            check(expected, item, where)
        return
    known = {key.rstrip("?") for key in expected}
    always = {key for key in expected if not key.endswith("?")}
    assert always <= set(value) <= known, f"{where}: {sorted(value)}"
    for key, nested in expected.items():
        name = key.rstrip("?")
        if nested is not None and value.get(name) is not None:
            check(nested, value[name], f"{where}.{name}")


@pytest.fixture
def client(supervised_node: Node) -> Iterator[AgentClient]:
    client = AgentClient(supervised_node.state_dir)
    client.hello()
    yield client
    client.stop()


def call(client: AgentClient, op: str, **arguments: Any) -> dict[str, Any]:
    answer = client.call(op, **arguments)
    check(TABLE[op][Kind.REPLY], answer, op)
    return answer


def begin(client: AgentClient, op: str, **arguments: Any) -> int:
    stream = client.request(op, **arguments)
    check(TABLE[op][Kind.REPLY], client.answer(stream), op)
    return stream


def end(client: AgentClient, op: str, stream: int) -> None:
    check(TABLE[op][Kind.END], client.end(stream), f"{op} END")


def test_the_table_names_every_operation_and_no_other() -> None:
    operations = Operations(Services(None, None))  # type: ignore[arg-type]
    assert set(TABLE) == set(operations._table)


def test_questions_are_answered_as_the_table_says(
    client: AgentClient, supervised_node: Node
) -> None:
    call(client, "clock")
    facts = call(client, "facts", python=sys.executable)
    assert set(facts) == {field.name for field in dataclasses.fields(messages.Facts)}
    call(client, "free_port", addr="127.0.0.1")
    checks = call(client, "preflight", python=sys.executable, need_torch=True)["checks"]
    assert checks
    place = call(client, "listen", addr="127.0.0.1", peers=2)
    call(client, "reach", addr="127.0.0.1", **place)
    call(client, "unlisten", port=place["port"])
    (supervised_node.state_dir / "file").write_bytes(b"content")
    assert call(client, "list", path=".")["entries"]


def test_streams_speak_as_the_table_says(client: AgentClient, supervised_node: Node) -> None:
    file = supervised_node.state_dir / "file"
    file.write_bytes(b"content")
    end(client, "read", begin(client, "read", path="file", offset=0, length=10))
    stream = begin(client, "follow", path="file", offset=0, credit=100)
    client.next(stream)
    file.write_bytes(b"")
    end(client, "follow", stream)
    end(client, "exec", begin(client, "exec", argv=["true"]))
    stream = begin(client, "telemetry", interval=0.1)
    check(TABLE["telemetry"][Kind.EVENT], client.event(stream), "telemetry EVENT")
    client.close_stream(stream)


def test_uploads_are_answered_as_the_table_says(client: AgentClient) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        entry = tarfile.TarInfo("train.py")
        entry.size = 4
        tar.addfile(entry, io.BytesIO(b"pass"))
    data = archive.getvalue()
    digest = hashlib.sha256(data).hexdigest()
    call(client, "has_code", digest=digest)
    stream = begin(client, "put_code", digest=digest, size=len(data))
    client.send(Kind.DATA, stream, data)
    client.send(Kind.END, stream, b"{}")
    end(client, "put_code", stream)
    call(client, "clean", digest=digest)


def test_jobs_are_told_of_as_the_table_says(client: AgentClient, supervised_node: Node) -> None:
    attempt = supervised_node.python("import time; time.sleep(600)")
    place = attempt.place
    watch = begin(client, "watch_jobs", interval=0.2)
    answer = call(client, "prepare", job=attempt.job, record=attempt.record, secrets={})
    fields = {field.name for field in dataclasses.fields(records.ProcessId)}
    assert set(answer["supervisor"]) == fields

    def command(do: str) -> dict[str, Any]:
        return call(
            client, "command", job=place.job, attempt=0, node_rank=0, do=do, by="ada@laptop",
            id=uuid.uuid4().hex, grace=5.0,
        )  # fmt: skip

    assert command("go") == {"accepted": True}
    attempt.wait("started")
    eventually(lambda: call(client, "scan", job=place.job)["processes"], "the process")
    (process,) = call(client, "stacks", job=place.job, attempt=0, node_rank=0)["ranks"]
    assert set(process) == {"rank", "local_rank", "pid", "how", "error", "threads"}
    command("cancel")
    attempt.ended()
    late = command("cancel")
    assert late["accepted"] is False
    assert late["ended"]["kind"] == "ended"
    damaged = supervised_node.state_dir / "jobs" / "0123456789ab" / "job.json"
    damaged.parent.mkdir()
    damaged.write_text("{")
    jobs = call(client, "jobs")["jobs"]
    assert {"damaged" in job for job in jobs} == {True, False}
    check(
        {"jobs": TABLE["jobs"][Kind.REPLY]["jobs"], "omitted?": None}, client.event(watch), "jobs"
    )
    call(client, "clean", job=place.job)
