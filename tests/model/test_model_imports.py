"""The model is pure: no event loop, no network, no screen."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import cockpit.model

FORBIDDEN = ("asyncio", "asyncssh", "textual", "rich", "socket", "click")


def test_importing_the_whole_model_brings_in_no_loop_no_network_and_no_screen() -> None:
    modules = [
        f"cockpit.model.{item.name}" for item in pkgutil.iter_modules(cockpit.model.__path__)
    ]
    code = (
        f"import sys, {', '.join(modules)}; "
        f"print([name for name in {FORBIDDEN!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
