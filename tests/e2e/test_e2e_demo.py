"""The demo, as `make demo` runs it without a terminal."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]


@pytest.mark.torch
@pytest.mark.timeout(360)
def test_the_demo_trains_on_two_virtual_nodes_and_leaves_nothing_behind(tmp_path: Path) -> None:
    environ = {**os.environ, "PYTHONPATH": str(REPO), "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "cockpit", "demo", "--seconds", "4"],
        cwd=tmp_path,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "simulated" in done.stderr
    assert "job demo succeeded" in done.stderr
    assert "Warning" not in done.stderr
    losses = [float(x) for x in re.findall(r"loss=([0-9.]+)", done.stdout)]
    assert losses[-1] < losses[0]
    for rank in range(4):
        assert f"[rank {rank}]" in done.stdout
    assert not list(tmp_path.glob("cockpit-demo-*"))
