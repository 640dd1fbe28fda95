"""A folder in which the real pynvml finds a stand-in for NVIDIA's library, and its state file."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.node.agent_client import REPO

SOURCE = Path(__file__).with_name("nvml_stub.c")


class Nvml:
    """`state` is rewritten at any time by `say`; see nvml_stub.c for the words."""

    def __init__(self, folder: Path, *options: str) -> None:
        pynvml = pytest.importorskip("pynvml")
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("no C compiler")
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(pynvml.__file__, folder)
        library = folder / "libnvidia-ml.so.1"
        command = [compiler, "-shared", "-fPIC", *options, "-o", str(library), str(SOURCE)]
        subprocess.run(command, check=True)
        self.state = folder / "state"
        self.env = {
            "PYTHONPATH": f"{REPO}:{folder}",
            "LD_LIBRARY_PATH": str(folder),
            "NVML_STUB_STATE": str(self.state),
        }

    def say(self, *lines: str) -> dict[str, str]:
        """Replace the state; returns the environment for an agent."""
        new = self.state.with_suffix(".new")
        new.write_text("".join(f"{line}\n" for line in lines))
        os.replace(new, self.state)
        return self.env
