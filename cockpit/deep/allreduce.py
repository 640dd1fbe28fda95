"""A real all-reduce over all ranks, checked and timed: what `cockpit doctor --deep` runs.

Runs under torchrun as any job does. COCKPIT_DEEP_BACKEND is nccl or gloo, COCKPIT_DEEP_LIMIT the
seconds after which a collective gives up. Rank 0 prints one line of JSON per size, with the time
of one all-reduce in seconds and the bandwidths in bytes a second as nccl-tests define them:
algorithm = size / time, bus = algorithm * 2 (n - 1) / n.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from datetime import timedelta

import torch
import torch.distributed as dist

MARK = "COCKPIT-ALLREDUCE "
SIZES = {
    "gloo": [1 << 20, 4 << 20, 16 << 20, 64 << 20],
    "nccl": [1 << 20, 16 << 20, 64 << 20, 256 << 20, 1 << 30],
}
"""Bytes."""
REPEATS = 10
BUDGET = 5.0
"""Seconds for the repeats of one size; beyond twice that, larger ones are not tried."""


def main() -> None:
    backend = os.environ["COCKPIT_DEEP_BACKEND"]
    limit = float(os.environ["COCKPIT_DEEP_LIMIT"])
    local = int(os.environ["LOCAL_RANK"])
    device = torch.device("cuda", local) if backend == "nccl" else torch.device("cpu")
    if backend == "nccl":
        torch.cuda.set_device(device)
    dist.init_process_group(backend, timeout=timedelta(seconds=limit))
    rank, world = dist.get_rank(), dist.get_world_size()
    say(f"rank {rank} of {world} on {socket.gethostname()}: {backend}")
    for size in SIZES[backend]:
        check(size, rank, world, device)
        took = timed(size, device)
        if rank == 0:
            algorithm = size / took
            result = {
                "size": size,
                "seconds": took,
                "algorithm": algorithm,
                "bus": algorithm * 2 * (world - 1) / world,
                "world": world,
                "backend": backend,
            }
            say(MARK + json.dumps(result))
        if took * REPEATS > BUDGET * 2:
            break
    dist.destroy_process_group()


def check(size: int, rank: int, world: int, device: torch.device) -> None:
    """The sum must be right in every element: a sick node may well compute, but wrongly."""
    data = torch.full((size // 4,), float(rank + 1), device=device)
    dist.all_reduce(data)
    expected = world * (world + 1) / 2
    low, high = float(data.min()), float(data.max())
    if low != expected or high != expected:
        raise ValueError(f"rank {rank}: the sum is {low} to {high}, not {expected}")


def timed(size: int, device: torch.device) -> float:
    """Seconds of one all-reduce, the slowest rank's; the same on every rank."""
    data = torch.zeros(size // 4, device=device)
    begin = time.perf_counter()
    dist.all_reduce(data)
    finish(device)
    once = agreed(time.perf_counter() - begin, device)
    repeats = max(1, min(REPEATS, int(BUDGET / max(once, 1e-6))))
    dist.barrier()
    begin = time.perf_counter()
    for _ in range(repeats):
        dist.all_reduce(data)
    finish(device)
    return agreed((time.perf_counter() - begin) / repeats, device)


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def agreed(seconds: float, device: torch.device) -> float:
    """The longest of all ranks', so that all decide alike."""
    value = torch.tensor([seconds], dtype=torch.float64, device=device)
    dist.all_reduce(value, op=dist.ReduceOp.MAX)
    return float(value.item())


if __name__ == "__main__":
    main()
