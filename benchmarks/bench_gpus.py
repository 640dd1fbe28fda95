"""What sampling 8 GPUs costs a node: processor time of an agent at one sample a second.

python benchmarks/bench_gpus.py [SECONDS]

The real agent and the real pynvml, against the stand-in library of the tests (tests/node), so the
time that a real driver takes is not in it. The same agent without a subscription is the floor.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import REPO, cpu_seconds, note, report, resident_mb

from tests.node.agent_client import AgentClient

GPUS = 8
WARM_UP = 6.0
"""Seconds until the library is loaded and each tier has run once."""
SECONDS = 30.0


def stub(folder: Path) -> dict[str, str]:
    """The environment in which pynvml finds 8 busy GPUs, each with a process."""
    import pynvml

    shutil.copy(pynvml.__file__, folder)
    source = REPO / "tests" / "node" / "nvml_stub.c"
    library = folder / "libnvidia-ml.so.1"
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, source], check=True)
    state = folder / "state"
    state.write_text(
        "".join(
            f"{i} name=H100 util=97 used=70000 power=655 temp=64 memtemp=78 clock=1755 links=18/18"
            f" tx=1000 rx=1000 pcie=5/16 pid={i + 1}:60000\n"
            for i in range(GPUS)
        )
    )
    return {
        "PYTHONPATH": f"{REPO}:{folder}",
        "LD_LIBRARY_PATH": str(folder),
        "NVML_STUB_STATE": str(state),
    }


def share(env: dict[str, str], folder: Path, seconds: float, *, subscribed: bool) -> float:
    """Part of a core that an agent takes."""
    folder.mkdir(mode=0o700)
    agent = AgentClient(folder, env=env)
    try:
        agent.hello()
        stream = agent.request("telemetry", interval=1.0) if subscribed else 0
        if subscribed:
            agent.answer(stream)
        time.sleep(WARM_UP)
        pid = agent.process.pid
        before, begin = cpu_seconds(pid), time.monotonic()
        time.sleep(seconds)
        used = (cpu_seconds(pid) - before) / (time.monotonic() - begin)
        if subscribed:
            samples = [agent.event(stream) for _ in range(int(seconds))]
            if any(len(sample["gpus"]) != GPUS for sample in samples):
                raise RuntimeError(f"not all samples have {GPUS} GPUs: {samples[-1]['gpu_error']}")
            note(f"resident memory of the agent: {resident_mb(pid):.1f} MB")
        return used
    finally:
        agent.stop()


def main(seconds: float = SECONDS) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        env = stub(folder)
        idle = share(env, folder / "idle", min(seconds, 10.0), subscribed=False) * 100
        busy = share(env, folder / "busy", seconds, subscribed=True) * 100
    report(
        f"an agent that samples host and {GPUS} GPUs each second, % of a core",
        busy,
        "≤ 1",
        busy <= 1.0,
        f"idle: {idle:.2g} %",
    )


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
