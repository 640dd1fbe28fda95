"""What an agent loads before the first byte of a log is on its way: as little as possible."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from cockpit.node.sensors import gpus
from tests.node.agent_client import REPO

SLOW = ("typing", "dataclasses", "inspect", "ctypes", "threading", "subprocess", "hashlib")


def test_an_agent_that_streams_has_loaded_nothing_slow() -> None:
    script = (
        f"import sys; sys.path.insert(0, {str(REPO)!r})\n"
        "import cockpit.node.agent.agent, cockpit.node.agent.follow, cockpit.node.agent.tails\n"
        f"print([name for name in {SLOW!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_the_gpu_bindings_are_compiled_by_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "pynvml.py"
    source.write_text("raise ImportError('this process must not run it')\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    sys.path_importer_cache.pop(str(tmp_path), None)
    gpus._compile_bindings()
    assert Path(importlib.util.cache_from_source(str(source))).is_file()
    gpus._compile_bindings()


def test_bindings_that_do_not_compile_are_left_to_the_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pynvml.py").write_text("this is no Python\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    sys.path_importer_cache.pop(str(tmp_path), None)
    gpus._compile_bindings()
    assert not (tmp_path / "__pycache__").exists()
