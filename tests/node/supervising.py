"""A node's state folder with real supervisors and real processes in it, for tests."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import textwrap
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cockpit.node import journal, processes
from cockpit.node.supervise import claims, slots, supervision
from cockpit.node.supervise.claims import Place
from cockpit.protocol import layout
from cockpit.protocol.records import (
    AttemptRecord,
    CodeRef,
    JobRecord,
    Member,
    ProcessId,
    to_builtins,
)

ROOT = str(Path(__file__).resolve().parents[2])
WAIT = 60.0
"""Seconds that anything may take on a busy machine."""


def eventually(check: Callable[[], Any], what: str, seconds: float = WAIT) -> Any:
    deadline = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(f"{what}: not within {seconds:g} s")
        time.sleep(0.02)


def supervisors(job: str) -> list[ProcessId]:
    """Every live supervisor of a job and its helpers, by the mark in their environment."""
    mark = f"{processes.SUPERVISOR_ENV}={job}/".encode()
    found = []
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError, ValueError):
            if b"\0" + mark in b"\0" + Path(f"/proc/{int(name)}/environ").read_bytes():
                process = processes.identify(int(name))
                if process is not None:
                    found.append(process)
    return found


class Attempt:
    """One attempt of one job, driven as an agent drives it."""

    def __init__(self, node: Node, job: dict[str, Any], record: dict[str, Any]) -> None:
        self.node, self.job, self.record = node, job, record
        self.place = Place(
            str(node.state_dir), record["job"], record["attempt"], record["node_rank"]
        )
        self.folder = Path(self.place.path)

    def prepare(self, secrets: dict[str, str] | None = None, **options: Any) -> dict[str, Any]:
        return supervision.prepare(
            str(self.node.state_dir), ROOT, self.job, self.record, secrets or {}, **options
        )

    def command(self, do: str, **fields: Any) -> dict[str, Any]:
        request = {
            "job": self.place.job,
            "attempt": self.place.attempt,
            "node_rank": self.place.node_rank,
            "id": uuid.uuid4().hex,
            "do": do,
            "by": "ada@laptop",
            **fields,
        }
        return supervision.leave_command(str(self.node.state_dir), request)

    def run(self, secrets: dict[str, str] | None = None) -> Attempt:
        """Prepare, go, and wait for the start or what came instead."""
        self.prepare(secrets)
        self.command("go")
        eventually(lambda: self.event("started") or self.event("start_failed"), "the start")
        return self

    def events(self) -> list[dict[str, Any]]:
        return journal.read(str(self.folder / layout.EVENTS))

    def event(self, kind: str) -> dict[str, Any] | None:
        return next((event for event in self.events() if event["kind"] == kind), None)

    def kinds(self) -> list[str]:
        return [event["kind"] for event in self.events()]

    def wait(self, kind: str) -> dict[str, Any]:
        try:
            return eventually(lambda: self.event(kind), f"event {kind!r}")
        except AssertionError as error:
            raise AssertionError(f"{error}; {self.kinds()}") from None

    def ended(self) -> dict[str, Any]:
        """Wait for the end, and for the supervisor to be gone."""
        event = self.wait("ended")
        eventually(lambda: not supervisors(self.place.job), "the supervisor's exit")
        return event

    def wait_for_file(self, name: str) -> str:
        path = self.folder / name
        eventually(lambda: path.exists() and path.read_text().endswith("\n"), f"file {name}")
        return path.read_text()

    def launcher(self) -> ProcessId:
        event = self.wait("started")
        return ProcessId(**event["process"])

    def kill_supervisor(self) -> None:
        (supervisor,) = supervisors(self.place.job)
        processes.send_signal(supervisor, signal.SIGKILL)
        eventually(lambda: not processes.is_alive(supervisor), "the supervisor's death")

    def scan(self) -> list[processes.Process]:
        return processes.scan(self.place.job)


class Node:
    """A machine's state folder; `close` ends whatever was started there."""

    def __init__(self, folder: Path) -> None:
        self.state_dir = folder / "state dir"
        self.work = folder / "work"
        self.work.mkdir(parents=True)
        self._jobs: list[str] = []

    def attempt(self, *argv: str, attempt: int = 0, node_rank: int = 0, **fields: Any) -> Attempt:
        """An attempt of a new job that runs `argv`, or of the job `job=` (JSON)."""
        job = fields.pop("job", None)
        macros = fields.pop("macros", {})
        if job is None:
            job = self.job(*argv, **fields)
        record = AttemptRecord(
            job=job["id"],
            attempt=attempt,
            node_rank=node_rank,
            members=(Member(node_rank, "n0", "localhost", "127.0.0.1"),),
            macros=macros,
            created_at=time.time(),
            created_by="ada@laptop",
            nproc_per_node=1,
        )
        return Attempt(self, job, to_builtins(record))

    def python(self, script: str, *args: str, **fields: Any) -> Attempt:
        """An attempt of a new job whose launcher process is a Python script."""
        text = textwrap.dedent(script).replace("${", "$${")
        return self.attempt(sys.executable, "-c", text, *args, **fields)

    def job(self, *argv: str, **fields: Any) -> dict[str, Any]:
        values: dict[str, Any] = {
            "id": uuid.uuid4().hex[:12],
            "name": "a job",
            "created_at": time.time(),
            "created_by": "ada@laptop",
            "cluster": "lab",
            "launcher": "command",
            "kind": "command",
            "min_nodes": 1,
            "max_nodes": 1,
            "nproc_per_node": 1,
            "command": argv,
            "argv": argv,
            "env": {},
            "secrets": {},
            "working_dir": str(self.work),
            "code": None,
            "max_restarts": 0,
            "grace": 10.0,
            **fields,
        }
        self._jobs.append(values["id"])
        return to_builtins(JobRecord(**values))

    def store_code(self, digest: str, files: dict[str, str]) -> CodeRef:
        for name, text in files.items():
            path = self.state_dir / "code" / digest / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return CodeRef(digest, 1, len(files))

    def ensure_supervised(self) -> list[dict[str, Any]]:
        return supervision.ensure_supervised(str(self.state_dir), ROOT)

    def close(self) -> None:
        places = claims.places(str(self.state_dir)) if self.state_dir.exists() else []
        for job in {*self._jobs, *(place.job for place in places)}:
            deadline = time.monotonic() + WAIT
            while left := [*supervisors(job), *_identities(job)]:
                for process in left:
                    processes.send_signal(process, signal.SIGKILL)
                assert time.monotonic() < deadline, f"{left} cannot be ended"
                time.sleep(0.02)
        for place in places:
            # A supervisor that is killed here cannot tidy up.
            slots.remove(slots.find(place))


def _identities(job: str) -> Iterator[ProcessId]:
    for process in processes.scan(job):
        yield ProcessId(process["pid"], process["start_ticks"], processes.boot_id())
