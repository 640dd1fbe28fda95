"""A tool on a tether is the tool itself, and gone as soon as whoever started it is."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys

import pytest

from cockpit.node.tether import tethered
from tests.node.torchrun_nodes import until

TOOL = """\
import os, sys, time
print(os.getpid(), sys.argv[1:], flush=True)
time.sleep(600)
"""
STARTER = """\
import os, subprocess, sys, threading
from cockpit.node.tether import tethered
def work(): subprocess.run(tethered(sys.argv[1:]))
threading.Thread(target=work, daemon=True).start()
input()
os._exit(0)
"""


def script(folder: pathlib.Path, text: str) -> str:
    """A program of the shell that becomes this Python without its own start-up."""
    (folder / "tool.py").write_text(text)
    path = folder / "tool"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "{folder}/tool.py" "$@"\n')
    path.chmod(0o755)
    return str(path)


def alive(pid: int) -> bool:
    try:
        status = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize("way", ["killed", "os._exit"])
def test_a_tool_that_prints_nothing_more_is_gone_with_its_starter(
    tmp_path: pathlib.Path, way: str
) -> None:
    root = pathlib.Path(__file__).resolve().parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", STARTER, script(tmp_path, TOOL), "a b", "$c"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    ) as starter:  # fmt: skip
        assert starter.stdin is not None
        assert starter.stdout is not None
        said = starter.stdout.readline()
        pid = int(said.split()[0])
        try:
            assert "['a b', '$c']" in said
            if way == "killed":
                starter.kill()
            else:
                starter.stdin.write("\n")
                starter.stdin.flush()
            starter.wait(60)
            until(lambda: not alive(pid), "the end of the tool", 60)
        finally:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)


def test_it_is_the_same_process_with_the_signals_of_a_fresh_one(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "tool"
    path.write_text("#!/bin/sh\necho $$; grep SigIgn /proc/$$/status; exit 3\n")
    path.chmod(0o755)
    with subprocess.Popen(tethered([str(path)]), stdout=subprocess.PIPE, text=True) as process:
        out, _ = process.communicate(timeout=60)
    pid, ignored = out.splitlines()
    assert (int(pid), process.returncode) == (process.pid, 3)
    mask = int(ignored.split()[1], 16)
    assert not mask & 1 << signal.SIGPIPE - 1


def test_what_cannot_be_run_is_told_as_ever(tmp_path: pathlib.Path) -> None:
    with pytest.raises(FileNotFoundError):
        tethered([str(tmp_path / "nothing")])
    (tmp_path / "text").write_text("no program")
    with pytest.raises(PermissionError, match="Permission denied"):
        tethered([str(tmp_path / "text")])
    (tmp_path / "text").chmod(0o755)
    done = subprocess.run(
        tethered([str(tmp_path / "text")]), capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (1, "it cannot be run: Exec format error\n")
