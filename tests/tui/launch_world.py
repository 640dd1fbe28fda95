"""A launch pad that plans for real and starts nothing, and the lab that it launches on."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
from tui_world import FakeSource

from cockpit.errors import CockpitError, NodeError, StartError
from cockpit.launchers.plan import Request
from cockpit.launchers.preview import preview_text
from cockpit.launchers.registry import plan
from cockpit.model.doctor import Finding, Level, Report
from cockpit.model.types import Job
from cockpit.profiles import Cluster, Config, JobProfile, NodeSpec, builtin
from cockpit.tui.launch import drafts
from cockpit.tui.launch.pad import Checked, Draft, Preview, Say

LAB = Cluster(
    name="lab",
    nodes=tuple(
        NodeSpec(name=name, host=f"{name}.lab", addr=f"10.0.0.{number}")
        for number, name in enumerate(("gpu01", "gpu02", "gpu03"), 1)
    ),
    spares=(NodeSpec(name="gpu09", host="gpu09.lab"),),
    sync=False,
)


def config(**more: Any) -> Config:
    """The lab, and a job profile `llama` on two of its nodes."""
    base = builtin()
    llama = JobProfile(
        name="llama", cluster="lab", script="train.py", args=("--cfg", "70b"), nodes=2,
        working_dir="/data/llama", env={"SEED": "1"},
    )  # fmt: skip
    return msgspec.structs.replace(
        base, clusters={**base.clusters, "lab": LAB, **more}, jobs={"llama": llama}
    )


def sound(*nodes: str) -> Report:
    return Report(
        findings=tuple(
            Finding(node=name, check="link", level=Level.OK, message="10.0.0.1", cluster="lab")
            for name in nodes
        )
    )


def broken(node: str = "gpu01") -> Report:
    finding = Finding(
        node=node, check="torch", level=Level.CRIT, message="no torch", hint="install it",
        cluster="lab",
    )  # fmt: skip
    return Report(findings=(finding,))


class FakePad:
    """Records what it is asked for. `failure`: how a launch ends; `gate`: it waits for it."""

    def __init__(self, source: FakeSource) -> None:
        self._source = source
        self.report = sound("gpu01", "gpu02")
        self.failure: CockpitError | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.launched: list[tuple[Preview, bool]] = []
        self.saved: list[tuple[Draft, str]] = []
        self.asked: list[Request] = []
        self.unplanned: CockpitError | None = None

    @property
    def config(self) -> Config:
        return self._source.config

    async def check(self, draft: Draft) -> Checked:
        fleet, environ = self._source.snapshot(), {"HOME": "/root"}
        return await asyncio.to_thread(drafts.check, draft, self.config, fleet, environ)

    async def preview(self, checked: Checked, say: Say) -> Preview:
        assert checked.request is not None
        if self.unplanned is not None:
            raise self.unplanned
        say("packing…")
        text = preview_text(checked.request, plan(checked.request), None)
        return Preview(
            checked.request, text, checked.given, checked.command, "8f21c0" * 10, 4096, 3
        )

    async def preflight(self, request: Request) -> Report:
        self.asked.append(request)
        return self.report

    async def launch(
        self, preview: Preview, say: Say, give_up: asyncio.Event, *, in_spite: bool
    ) -> str:
        self.launched.append((preview, in_spite))
        say("gpu01: uploading 4.1 kB")
        gate = asyncio.ensure_future(self.gate.wait())
        stopped = asyncio.ensure_future(give_up.wait())
        await asyncio.wait({gate, stopped}, return_when=asyncio.FIRST_COMPLETED)
        gate.cancel()
        stopped.cancel()
        if give_up.is_set():
            raise CockpitError("the start was given up; nothing runs")
        if self.failure is not None:
            raise self.failure
        return "llama-1a2b"

    async def renew(self, preview: Preview, say: Say) -> Preview:
        say("packing…")
        self.failure = None
        return preview._replace(digest="9e32d1" * 10)

    async def save(self, draft: Draft, name: str) -> Path:
        if "/" in name:
            raise NodeError("name", f"{name!r} cannot be a name")
        self.saved.append((draft, name))
        return Path("/home/ada/cockpit.toml")

    async def draft_of(self, job: Job) -> Draft:
        return drafts.of_job(job)


def refused() -> StartError:
    return StartError(
        "job llama was not started anywhere: gpu01 could not take part",
        {"gpu01": NodeError("no_torch", "gpu01: no torch there", "install torch there")},
    )
