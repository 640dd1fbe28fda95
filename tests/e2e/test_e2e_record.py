"""A job that ran for real is recorded from its node and read back for a replay."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cockpit.model.types import JobState
from cockpit.tui.replay import ReplaySource, read
from tests.e2e.lab import REPO, TIMEOUT

pytestmark = pytest.mark.timeout(360)


def cockpit(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "COCKPIT_"))}
    return subprocess.run(
        [sys.executable, "-m", "cockpit", *words],
        cwd=home,
        env={**kept, "PYTHONPATH": str(REPO), "HOME": str(home)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )


def test_a_job_is_recorded_and_played_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "cockpit.toml").write_text('[launchers.sh]\nkind = "command"\n')
    (tmp_path / "job.py").write_text("print('hello')\nraise SystemExit(3)\n")
    ran = cockpit(tmp_path, "run", "--cluster", "local", "--launcher", "sh", "job.py")
    assert ran.returncode == 3, ran.stderr
    saved = cockpit(tmp_path, "record", "job", "kept")
    assert saved.returncode == 0, saved.stderr
    assert "saved in kept" in saved.stderr
    again = cockpit(tmp_path, "record", "job", "kept")
    assert again.returncode == 64
    assert "kept is not empty" in again.stderr

    mono = [0.0]
    source = ReplaySource(read(tmp_path / "kept"), mono=lambda: mono[0])
    assert source.snapshot().jobs[0].state is JobState.STAGING
    mono[0] = 600.0
    job = source.snapshot().jobs[0]
    assert (job.state, job.exit_code) == (JobState.FAILED, 3)
    log = source.log(job.id)
    assert [line.data for line in log.lines(0, log.end)] == [b"hello"]
