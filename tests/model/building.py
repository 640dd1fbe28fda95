"""Journals of a job, said event by event: what `journals/*.jsonl` hold, built in the test itself.

Times are seconds after `scenarios.T0`; nodes are gpu01, gpu02, …, ranks are numbered across them.
"""

from __future__ import annotations

import json

from cockpit.model.jobs import JobModel
from cockpit.model.rules import Rules
from cockpit.model.types import Job, Link, Rank
from tests.model.scenarios import JOB, ONLINE, T0, Where, plan, record

Silent = tuple[int, int | None]
"""(rank, step)"""


class Cluster:
    """A job of `nodes` nodes with `ranks` ranks each."""

    def __init__(self, nodes: int = 2, ranks: int = 2, **fields: object) -> None:
        self.nodes = nodes
        self.ranks = ranks
        self.record = record(nodes, **fields)  # type: ignore[arg-type]
        self.events: dict[Where, list[dict[str, object]]] = {}
        self.links: dict[str, Link] = {}

    def say(self, node: int, journal: str, at: float, kind: str, **fields: object) -> None:
        lines = self.events.setdefault((0, node, journal), [])
        stamp = {"seq": len(lines), "at": T0 + at, "mono": 100.0 + at, "kind": kind}
        lines.append({**stamp, **fields})

    def everywhere(self, journal: str, at: float, kind: str, **fields: object) -> None:
        for node in range(self.nodes):
            self.say(node, journal, at, kind, **fields)

    def start(self, at: float = 0.0) -> Cluster:
        self.everywhere("events", at, "claimed", by="ada@laptop")
        self.everywhere("events", at + 0.1, "started", process={"pid": 7})
        self.everywhere("launcher", at + 0.2, "launcher", process={"pid": 7})
        return self

    def generation(self, number: int, at: float, *, shift: int = 0) -> Cluster:
        """`shift`: nodes by which the ranks have moved on."""
        for node in range(self.nodes):
            place = (node + shift) % self.nodes
            ranks = [
                {"rank": self.rank(place, n), "local_rank": n, "process": {"pid": 100 * (node + 1)}}
                for n in range(self.ranks)
            ]
            self.say(
                node, "launcher", at, "generation", generation=number, group_rank=node,
                group_world_size=self.nodes, world_size=self.nodes * self.ranks, ranks=ranks,
            )  # fmt: skip
        return self

    def rank(self, node: int, local_rank: int) -> int:
        return node * self.ranks + local_rank

    def beats(self, node: int, at: float, generation: int, *ranks: dict[str, object]) -> None:
        """A digest; each of `ranks` says what is not ordinary about the next local rank."""
        said = [
            {
                "local_rank": n, "rank": self.rank(node, n), "pid": 100 * (node + 1),
                "stage": "training", "beats": 10, "step": 10, "age": 0.2, "limit": 120.0,
                "interval": 0.5, "own": None, "metrics": {}, "note": "", "ft": None, **what,
            }
            for n, what in enumerate(ranks)
        ]  # fmt: skip
        self.say(node, "beats", at, "beats", generation=generation, ranks=said)

    def stalled(
        self,
        node: int,
        at: float,
        generation: int,
        *ranks: Silent,
        **fields: object,
    ) -> None:
        silent = [
            {"rank": rank, "local_rank": rank % self.ranks, "pid": 1, "step": step, "age": 31.0,
             "limit": 30.0, "first": step is None}
            for rank, step in ranks
        ]  # fmt: skip
        said = {"action": "warn", "message": "ranks have been silent", **fields}
        self.say(node, "events", at, "stalled", generation=generation, ranks=silent, **said)

    def failed(self, node: int, at: float, generation: int, *failures: dict[str, object]) -> None:
        """The group of a node failed; `at` of a failure is relative too."""
        said = [
            {"rank": self.rank(node, int(str(f["local_rank"]))), "exit_code": 1, "signal": None,
             "message": "", "exception": "", "oom": False, "evidence": "", **f,
             "at": T0 + float(str(f.get("at", at)))}
            for f in failures
        ]  # fmt: skip
        self.say(
            node, "launcher", at, "group", generation=generation, state="FAILED", failures=said
        )

    def end(self, at: float, outcome: str = "failed", code: int = 1) -> Cluster:
        for node in range(self.nodes):
            self.end_node(node, at, outcome, code)
        return self

    def end_node(self, node: int, at: float, outcome: str = "failed", code: int = 1) -> None:
        self.say(node, "launcher", at - 0.2, "launcher_exit", code=code)
        self.say(node, "events", at - 0.1, "launcher_exited", code=code, signal=None, oom=False)
        self.say(node, "events", at, "ended", outcome=outcome, code=code, signal=None)

    def succeed(self, generation: int, at: float) -> Cluster:
        self.everywhere("launcher", at - 1, "group", generation=generation, state="SUCCEEDED")
        return self.end(at, "succeeded", 0)

    def data(self) -> dict[Where, bytes]:
        return {
            where: b"".join(json.dumps(event).encode() + b"\n" for event in events)
            for where, events in self.events.items()
        }

    def model(self, rules: Rules | None = None) -> JobModel:
        """A model that was fed all of it."""
        job = JobModel(self.record, rules)
        job.plan(plan(self.nodes))
        for node in range(self.nodes):
            name = f"gpu0{node + 1}"
            job.link(name, self.links.get(name, ONLINE))
        for where, data in self.data().items():
            job.feed(*where, 0, data)
        return job

    def job(self, at: float = 1000.0, rules: Rules | None = None) -> Job:
        """The snapshot `at` seconds after T0."""
        return self.model(rules).snapshot(T0 + at)


def running(nodes: int = 2, ranks: int = 2, **fields: object) -> Cluster:
    """A job whose generation 0 began at 1."""
    return Cluster(nodes, ranks, **fields).start().generation(0, 1.0)


def commands(nodes: int = 2) -> Cluster:
    """A job whose nodes run a command each since 0.1, and say nothing of ranks."""
    cluster = Cluster(nodes, 0, kind="command")
    cluster.everywhere("events", 0.0, "claimed", by="ada@laptop")
    cluster.everywhere("events", 0.1, "started", process={"pid": 7})
    return cluster


def leave(
    cluster: Cluster,
    node: int,
    at: float,
    code: int | None = None,
    *,
    signal: int | None = None,
    outcome: str = "failed",
) -> None:
    """The command of one node ends, and its supervisor after it."""
    cluster.say(node, "events", at, "launcher_exited", code=code, signal=signal, oom=False)
    cluster.say(node, "events", at + 0.1, "ended", outcome=outcome, code=code, signal=signal)


def ranks_of(job: Job) -> list[Rank]:
    return [rank for node in job.nodes for rank in node.ranks]


def scenario(cluster: Cluster) -> str:
    """The text of a file of `journals/`."""
    return "".join(
        json.dumps({"attempt": a, "node_rank": n, "journal": journal, "event": event}) + "\n"
        for (a, n, journal), events in cluster.events.items()
        for event in events
    )


__all__ = ["JOB", "Cluster", "commands", "leave", "ranks_of", "running", "scenario"]
