"""Virtual nodes: the very road to a real one, over SSH servers of our own."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from pathlib import Path

from cockpit.transport.factory import transport_for
from cockpit.transport.link import NodeLink
from cockpit.transport.virtual import VirtualCluster


async def test_a_virtual_node_has_its_own_home_and_simulated_gpus_that_say_so(
    tmp_path: Path,
) -> None:
    virtual = VirtualCluster(tmp_path / "nodes", ["a", "b"], gpus=2)
    await virtual.start()
    cluster = virtual.cluster("demo", python=sys.executable)
    links = [NodeLink(spec.name, transport_for(cluster, spec)) for spec in cluster.nodes]
    try:
        samples: list[asyncio.Future[dict[str, object]]] = []
        for link in links:
            await link.start()
            sample = asyncio.get_running_loop().create_future()
            samples.append(sample)

            def take(item: dict[str, object], sample=sample) -> None:  # type: ignore[no-untyped-def]
                if not sample.done():
                    sample.set_result(item)

            link.subscribe("telemetry", take, interval=0.2)
        hellos = [await link.ready(20.0) for link in links]
        assert {hello.state_dir for hello in hellos} == {
            str(node.home / ".cockpit") for node in virtual.nodes
        }
        for sample in samples:
            item = await asyncio.wait_for(sample, 20.0)
            assert item["simulated"] is True
            gpus = item["gpus"]
            assert isinstance(gpus, list)
            assert len(gpus) == 2
            assert all("simulated" in gpu["name"].lower() for gpu in gpus)
        told = await links[0].execute(["sh", "-c", "echo $HOME; exit 3"])
        assert told.code == 3
        assert told.stdout.decode().strip() == str(virtual.nodes[0].home)
    finally:
        await asyncio.gather(*(link.close() for link in links))
        await virtual.close()


async def test_keys_of_a_virtual_cluster_are_private(tmp_path: Path) -> None:
    virtual = VirtualCluster(tmp_path / "nodes", ["a"])
    await virtual.start()
    try:
        assert stat.S_IMODE(os.stat(virtual.client_key).st_mode) == 0o600
    finally:
        await virtual.close()
