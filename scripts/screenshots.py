"""Draw docs/images/*.svg from a real run: `make screenshots`.

Two virtual nodes of this machine, each behind a real SSH server, train for real; one rank is
killed on the way. What the screen then shows is saved as it is. The heat wall is the simulated
fleet of `cockpit demo --nodes 128`, which says so itself.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from cockpit import packaging, profiles
from cockpit.cli.demo import example_script
from cockpit.controller import Controller
from cockpit.launchers.plan import Request
from cockpit.model.types import JobState
from cockpit.transport.virtual import VirtualCluster
from cockpit.tui.app import CockpitApp
from cockpit.tui.draw import themes
from cockpit.tui.live import LiveSource
from cockpit.tui.settings import Settings
from cockpit.tui.simulated import SimulatedSource

TARGET = Path(__file__).resolve().parents[1] / "docs" / "images"
SIZE = (120, 36)
NODES = ("node0", "node1")
SECONDS = 60
PATIENCE = 90.0


async def _until(what: Callable[[], object], name: str) -> None:
    for _ in range(int(PATIENCE * 10)):
        if what():
            return
        await asyncio.sleep(0.1)
    raise SystemExit(f"{name} did not come within {PATIENCE:.0f} s")


class Photographer:
    """The app without a terminal, its keys, and its pictures."""

    def __init__(self, app: CockpitApp) -> None:
        self.app = app

    async def press(self, *keys: str) -> None:
        for key in keys:
            self.app.simulate_key(key)
            await asyncio.sleep(0.3)

    async def take(self, name: str) -> None:
        await asyncio.sleep(0.5)
        svg = self.app.export_screenshot(title=f"cockpit — {name}")
        await asyncio.to_thread((TARGET / f"{name}.svg").write_text, svg, "utf-8")
        sys.stderr.write(f"docs/images/{name}.svg\n")


def _settings() -> Settings:
    return Settings(loaded=themes.load([themes.shipped_folder()]))


async def _shoot(app: CockpitApp, story: Callable[[Photographer], object]) -> None:
    running = asyncio.ensure_future(app.run_async(headless=True, size=SIZE))
    await _until(lambda: app.is_running and app.frame.fleet.revision >= 0, "the screen")
    try:
        await story(Photographer(app))  # type: ignore[misc]
    finally:
        app.exit()
        await running


async def real(root: Path) -> None:
    virtual = VirtualCluster(root / "nodes", NODES, gpus=8)
    await virtual.start()
    try:
        cluster = virtual.cluster("demo", python=sys.executable)
        config = profiles.with_cluster(profiles.builtin(), cluster)
        code = root / "code"
        code.mkdir()
        script = example_script()
        (code / script.name).write_bytes(await asyncio.to_thread(script.read_bytes))
        package = await asyncio.to_thread(packaging.pack, code)
        request = Request(
            name="train-ddp",
            cluster=cluster,
            launcher=config.launchers["torchrun"],
            nodes=cluster.nodes,
            min_nodes=2,
            max_nodes=2,
            nproc_per_node=2,
            script=script.name,
            args=("--seconds", str(SECONDS)),
            working_dir=str(code),
            max_restarts=3,
        )
        async with Controller(config, state_root=root / "state", telemetry=True) as controller:
            controller.open(["demo"])
            job = await controller.launch(request, archive=package, files=package.files)

            def steps() -> int:
                found = controller.job(job).steps
                return found[0] if found else 0

            async def story(camera: Photographer) -> None:
                await _until(lambda: steps() > 200, "the first steps")
                await camera.take("job-running")
                victim = controller.job(job).nodes[1].ranks[1].pid
                os.kill(victim, signal.SIGKILL)
                await _until(lambda: controller.job(job).restarts > 0, "the restart")
                await _until(lambda: steps() > 100, "steps after the restart")
                await camera.take("job-recovered")
                await camera.press("4")
                await camera.take("logs")
                await camera.press("1")
                await camera.take("fleet")
                await camera.press("enter")
                await camera.take("node")
                await camera.press("2", "n")
                await asyncio.sleep(2)
                await camera.take("launch")
                await camera.press("escape")

            app = CockpitApp(LiveSource(controller), _settings(), focus_job=job)
            await _shoot(app, story)
            if controller.job(job).state is JobState.RUNNING:
                await controller.cancel(job, grace=5.0)
    finally:
        await virtual.close()


async def simulated() -> None:
    async def story(camera: Photographer) -> None:
        await asyncio.sleep(5)
        await camera.take("fleet-128-simulated")

    await _shoot(CockpitApp(SimulatedSource(nodes=128), _settings()), story)


def main() -> None:
    TARGET.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="cockpit-pictures-") as root:
        asyncio.run(real(Path(root)))
    asyncio.run(simulated())


if __name__ == "__main__":
    main()
