"""Ctrl-C at any moment of a start: a quiet end with 130, and the word that nothing runs."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cockpit.cli.common import on_signals

REPO = Path(__file__).resolve().parents[2]

PRESS_AT = """
import importlib.abc, os, signal, sys, threading

class Press(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == {module!r}:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)
        return None

sys.meta_path.insert(0, Press())
from cockpit.cli import main
sys.argv[0] = "cockpit"
main()
"""
"""Presses Ctrl-C when a module is about to be loaded."""


def pressed_at(place: Path, module: str, *words: str) -> subprocess.CompletedProcess[str]:
    (place / "cockpit.toml").write_text(
        f"[clusters.lab]\nexecutor = 'local'\nnodes = ['here']\nstate_dir = '{place}/state'\n"
    )
    return subprocess.run(
        [sys.executable, "-c", PRESS_AT.format(module=module), *words],
        cwd=place,
        env={
            **os.environ,
            "PYTHONPATH": str(REPO),
            "HOME": str(place),
            "COCKPIT_CONTROLLER_DIR": str(place / "controller"),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("module", ["cockpit.cli.app", "click", "cockpit.cli.run"])
def test_ctrl_c_while_the_command_line_is_loaded_aborts_quietly(
    tmp_path: Path, module: str
) -> None:
    done = pressed_at(tmp_path, module, "run", "--no-sync", "--no-python", "true")
    assert (done.returncode, done.stderr) == (130, "cockpit: aborted\n")


@pytest.mark.parametrize(
    "module",
    ["cockpit.cli.follow", "cockpit.controller.core", "cockpit.launchers.torchrun"],
)
def test_ctrl_c_while_a_start_loads_its_modules_says_that_nothing_runs(
    tmp_path: Path, module: str
) -> None:
    done = pressed_at(
        tmp_path, module, "run", "-c", "lab", "--no-sync", "--no-preflight", "--no-python",
        "touch", str(tmp_path / "ran"),
    )  # fmt: skip
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    assert "never retrieved" not in done.stderr
    assert "cockpit: the start was given up; nothing runs" in done.stderr
    assert not (tmp_path / "ran").exists()


async def test_whoever_handled_a_signal_before_does_so_again_afterwards() -> None:
    heard: list[str] = []

    async def press(expected: str) -> None:
        os.kill(os.getpid(), signal.SIGUSR1)
        while not heard or heard[-1] != expected:
            await asyncio.sleep(0.01)

    before = signal.signal(signal.SIGUSR1, lambda *_: heard.append("first"))
    try:
        with on_signals(lambda: heard.append("outer"), signal.SIGUSR1):
            await press("outer")
            with on_signals(lambda: heard.append("inner"), signal.SIGUSR1):
                await press("inner")
            await press("outer")
        await press("first")
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert heard == ["outer", "inner", "outer", "first"]
