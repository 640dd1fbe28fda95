"""A job that prints its own secret, as the command line and a document of the screen show it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
VALUE = "hunter2-hunter2"

DOCUMENT = """
import asyncio, sys
from pathlib import Path
from cockpit import profiles
from cockpit.controller import Controller

async def main():
    async with Controller(profiles.load(None)) as controller:
        controller.open(["lab"])
        job = await controller.find("tell")
        document = controller.document(job.id)
        while document.opening or document.end < 2:
            document.poll()
            await asyncio.sleep(0.02)
        for line in document.lines(0, 9):
            print(line.data.decode())
        await document.save(Path("saved.log"))
        document.close()

asyncio.run(main())
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "cockpit.toml").write_text(
        f"[clusters.lab]\nexecutor = 'local'\nnodes = ['here']\nstate_dir = '{tmp_path}/state'\n"
        "secrets = { SEC = { env = 'MYSEC' } }\n"
        "[launchers.plain]\nkind = 'command'\n"
    )
    return tmp_path


def python(place: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        cwd=place,
        env={
            **os.environ,
            "PYTHONPATH": str(REPO),
            "HOME": str(place),
            "COCKPIT_CONTROLLER_DIR": str(place / "controller"),
            **more,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_secret_that_a_job_prints_is_shown_nowhere_and_its_own_file_keeps_it(
    place: Path,
) -> None:
    ran = python(
        place, "-m", "cockpit", "run", "-c", "lab", "-l", "plain", "--no-sync", "--no-preflight",
        "--name", "tell", "--no-python", "--", "/bin/sh", "-c", "echo sec=$SEC; echo done >&2",
        MYSEC=VALUE,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    (raw,) = place.glob("state/jobs/*/attempts/0/nodes/0/logs/launcher.out")
    assert raw.read_text() == f"sec={VALUE}\n"
    logs = python(place, "-m", "cockpit", "logs", "-c", "lab", "--json", "tell", MYSEC=VALUE)
    document = python(place, "-c", DOCUMENT, MYSEC=VALUE)
    for shown in (ran.stdout, logs.stdout, document.stdout, (place / "saved.log").read_text()):
        assert "sec=***" in shown
        assert "done" in shown
        assert VALUE not in shown
    unknown = python(place, "-m", "cockpit", "logs", "-c", "lab", "tell")
    assert f"sec={VALUE}" in unknown.stdout, "a machine that does not know it cannot hide it"
