"""Real torchrun with a static rendezvous on two loopback "nodes"."""

from __future__ import annotations

import pathlib

import pytest

from tests.node.torchrun_nodes import launched, make_runtime, request

pytestmark = [pytest.mark.torch, pytest.mark.timeout(120)]

TRAIN = """
import os, torch, torch.distributed as dist
dist.init_process_group("gloo")
total = torch.ones(1)
dist.all_reduce(total)
print(f"sum {total.item():.0f} {os.environ['TORCHELASTIC_RUN_ID']}", flush=True)
dist.destroy_process_group()
"""


def test_two_nodes_that_know_their_numbers_train_together(tmp_path: pathlib.Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(TRAIN)
    runtime = make_runtime(tmp_path / "runtime")
    wanted = request(
        script, nproc_per_node=1, launcher={"rdzv_backend": "static", "rdzv_id": "mine"}
    )
    with launched(wanted, runtime, tmp_path) as nodes:
        assert [node.wait() for node in nodes] == [0, 0]
    for number, node in enumerate(nodes):
        assert node.log(0, 0) == "sum 2 mine.0\n"
        (generation,) = node.events("generation")
        assert (generation["generation"], generation["world_size"]) == (0, 2)
        assert not node.events("hook_error")
        # Here a node's own number is its rank.
        assert generation["ranks"][0]["rank"] == number
