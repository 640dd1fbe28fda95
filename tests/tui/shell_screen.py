"""Run on a pseudo-terminal by the tests of shells: the screen on this machine and a virtual node.

The argument is a folder for the node's home. At the end it says how the links fared.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import msgspec

from cockpit import profiles
from cockpit.controller import Controller
from cockpit.profiles.types import Cluster, NodeSpec
from cockpit.transport.virtual import VirtualCluster
from cockpit.tui import run_async
from cockpit.tui.live import LiveSource


async def main(folder: Path) -> None:
    virtual = VirtualCluster(folder, ["gpu01"])
    await virtual.start()
    local = Cluster(
        name="here",
        executor="local",
        nodes=(NodeSpec(name="zhere", host="localhost"),),
        state_dir=str(folder / "local-state"),
    )
    clusters = {"demo": virtual.cluster("demo", python=sys.executable), "here": local}
    config = msgspec.structs.replace(profiles.builtin(), clusters=clusters)
    try:
        async with Controller(config, state_root=folder / "controller") as controller:
            controller.open()
            await controller.settle(30.0)
            before = [node.link for node in controller.snapshot().nodes]
            await run_async(LiveSource(controller))
            after = [node.link for node in controller.snapshot().nodes]
            same = all(
                a.since == b.since and b.state.value == "online"
                for a, b in zip(before, after, strict=True)
            )
            sys.stdout.write(f"links lived on: {same}\n")
    finally:
        await virtual.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
