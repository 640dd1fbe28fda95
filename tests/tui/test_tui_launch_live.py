"""The launch pad on a real controller, with nodes that are folders of this machine."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from cockpit import profiles
from cockpit.controller import Controller
from cockpit.errors import CockpitError, PackagingError, StartError, UsageError
from cockpit.launchers.preview import preview_text
from cockpit.launchers.registry import plan
from cockpit.model.types import JobState
from cockpit.packaging import pack
from cockpit.profiles import Cluster, Config, Launcher, NodeSpec
from cockpit.tui.launch.pad import Draft, Preview
from cockpit.tui.live.launching import LiveLaunchPad
from cockpit.tui.live.packing import Packer

WAIT = 20.0
SLEEP = Draft(
    cluster="here", launcher="plain", kind="command", target="sleep", args="60", nodes="2"
)


class Desk:
    """A pad, its controller, and the file that profiles are saved to."""

    def __init__(self, folder: Path, controller: Controller) -> None:
        self.file = folder / "cockpit.toml"
        self.code = folder / "code"
        self.controller = controller
        self.reloaded = 0
        self.said: list[str] = []
        self.pad = LiveLaunchPad(controller, lambda: self.file, self._reload)

    async def _reload(self) -> None:
        self.reloaded += 1

    @property
    def draft(self) -> Draft:
        return SLEEP._replace(working_dir=str(self.code))

    async def preview(self, draft: Draft) -> Preview:
        return await self.pad.preview(await self.pad.check(draft), self.said.append)

    async def launch(self, preview: Preview) -> str:
        return await self.pad.launch(preview, self.said.append, asyncio.Event(), in_spite=False)


def lab(folder: Path) -> Config:
    nodes = tuple(
        NodeSpec(name=name, host="localhost", addr="127.0.0.1", state_dir=str(folder / name))
        for name in ("a", "b")
    )
    here = Cluster(name="here", executor="local", nodes=nodes)
    base = profiles.builtin()
    plain = Launcher(name="plain", kind="command", grace=1.0)
    return msgspec.structs.replace(
        base, clusters={"here": here}, launchers={**base.launchers, "plain": plain}
    )


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    code = tmp_path / "code"
    code.mkdir()
    (code / "train.py").write_text("print(1)\n")
    return Desk(tmp_path, Controller(lab(tmp_path), state_root=tmp_path / "controller"))


@asynccontextmanager
async def opened(made: Desk) -> AsyncIterator[Desk]:
    async with made.controller as controller:
        controller.open()
        assert not await controller.settle(WAIT)
        yield made


async def test_what_the_preview_shows_is_launched_and_can_be_had_again(desk: Desk) -> None:
    async with opened(desk) as made:
        preview = await made.preview(made.draft._replace(env="SEED=7"))
        package = await asyncio.to_thread(pack, made.code)
        assert preview.text == preview_text(preview.request, plan(preview.request), package)
        assert (preview.digest, preview.files) == (package.digest, 1)
        job_id = await made.launch(preview)
        job = made.controller.job(job_id)
        assert job.state is not JobState.FAILED
        assert [node.name for node in job.nodes] == ["a", "b"]
        again = await made.pad.draft_of(job)
        assert again == made.draft._replace(
            env="SEED=7", name="sleep", nproc_per_node="auto", max_restarts="0"
        )
        # Its nodes are busy now; the form says so and plans there only if it has to.
        assert (await made.pad.check(again)).request is not None
        report = await made.controller.cancel(job_id)
        assert report.proven


async def test_a_refused_start_names_every_node(desk: Desk) -> None:
    async with opened(desk) as made:
        draft = made.draft._replace(launcher="torchrun", kind="script", target="train.py", args="")
        preview = await made.preview(draft)
        nowhere = msgspec.structs.replace(preview.request.cluster, python="/no/python")
        request = msgspec.structs.replace(preview.request, cluster=nowhere)
        with pytest.raises(StartError) as caught:
            await made.launch(preview._replace(request=request))
        assert set(caught.value.reasons) == {"a", "b"}
        assert "no Python" in caught.value.reasons["a"].message


async def test_a_start_that_is_given_up_leaves_nothing(desk: Desk) -> None:
    async with opened(desk) as made:
        preview = await made.preview(made.draft)
        stop = asyncio.Event()
        stop.set()
        with pytest.raises(CockpitError, match="the start was given up"):
            await made.pad.launch(preview, made.said.append, stop, in_spite=False)
        assert all(job.state.ended for job in made.controller.snapshot().jobs)


async def test_a_plan_whose_folder_was_written_to_is_not_launched(desk: Desk) -> None:
    async with opened(desk) as made:
        preview = await made.preview(made.draft)
        await asyncio.to_thread((made.code / "train.py").write_text, "x = 1\n")
        with pytest.raises(CockpitError, match="since this plan was made: train"):
            await made.launch(preview)
        assert made.controller.snapshot().jobs == ()


async def test_preflight_asks_for_what_the_launcher_needs(desk: Desk) -> None:
    async with opened(desk) as made:
        checked = await made.pad.check(made.draft)
        assert checked.request is not None
        report = await made.pad.preflight(checked.request)
        assert {item.node for item in report.findings} == {"a", "b"}
        only = msgspec.structs.replace(checked.request, min_nodes=1, max_nodes=1)
        assert {item.node for item in (await made.pad.preflight(only)).findings} == {"a"}


async def test_a_folder_is_packed_again_only_when_it_changed(tmp_path: Path) -> None:
    said: list[str] = []
    code = tmp_path / "code"
    await asyncio.to_thread(code.mkdir)
    packer = Packer()
    with pytest.raises(PackagingError):
        await packer.pack(str(code), said.append)
    await asyncio.to_thread((code / "a.py").write_text, "1\n")
    first = await packer.pack(str(code), said.append)
    assert await packer.pack(str(code), said.append) is first
    await asyncio.to_thread(os.utime, code / "a.py", (1, 1))
    touched = await packer.pack(str(code), said.append)
    assert touched is not first
    assert touched.digest == first.digest
    await asyncio.to_thread((code / "a.py").write_text, "2\n")
    assert (await packer.pack(str(code), said.append)).digest != first.digest
    assert len(said) == 4


async def test_a_saved_profile_asks_for_the_same_and_keeps_comments(desk: Desk) -> None:
    async with opened(desk) as made:
        text = "# ours\n[jobs.old]\nscript = 'a.py'  # the first\ncluster = 'local'\n"
        await asyncio.to_thread(made.file.write_text, text)
        await asyncio.to_thread((made.code / "t.py").write_text, "x = 1\n")
        draft = made.draft._replace(
            cluster="", launcher="torchrun", kind="script", target="t.py", args="--lr '1 e'",
            nodes="1", env="SEED=7\nHF_TOKEN=geheim", max_restarts="2",
        )  # fmt: skip
        made.controller.config = profiles.builtin()
        path = await made.pad.save(draft, "new one")
        assert (path, made.reloaded) == (made.file, 1)
        written = await asyncio.to_thread(path.read_text)
        assert written.startswith(text)
        assert "geheim" not in written
        config = await asyncio.to_thread(profiles.load, path)
        job = config.jobs["new one"]
        assert (job.script, job.args, job.nodes) == ("t.py", ("--lr", "1 e"), 1)
        assert (job.env, job.max_restarts) == ({"SEED": "7"}, 2)
        assert job.secrets["HF_TOKEN"].env == "HF_TOKEN"
        assert job.working_dir == str(made.code)
        with pytest.raises(UsageError, match="a quote is not closed"):
            await made.pad.save(draft._replace(args="'"), "bad")
        assert await asyncio.to_thread(path.read_text) == written
