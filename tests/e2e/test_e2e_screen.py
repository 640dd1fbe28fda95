"""The full-screen cockpit in a real terminal (tmux), on a job that runs on two real sshds."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator

import pytest

from tests.e2e.lab import REPO, Lab, until

pytestmark = [pytest.mark.sshd, pytest.mark.timeout(360)]


class Terminal:
    """One tmux server with one window; keys in, the visible screen out."""

    def __init__(self, lab: Lab, command: str, columns: int = 120, rows: int = 36) -> None:
        tmux = shutil.which("tmux")
        if tmux is None:
            pytest.fail("tmux is not installed; the screen is tested in a real terminal")
        self._tmux = [tmux, "-L", f"cockpit-{uuid.uuid4().hex[:12]}", "-f", "/dev/null"]
        environ = lab.environ(TERM="xterm-256color", LC_ALL="C.UTF-8")
        for name in ("COLUMNS", "LINES"):
            environ.pop(name, None)  # what they say is about another terminal
        self._run(
            "new-session", "-d", "-s", "main", "-x", str(columns), "-y", str(rows), command,
            environ=environ,
        )  # fmt: skip
        self._run("resize-window", "-t", "main", "-x", str(columns), "-y", str(rows))

    def _run(self, *words: str, environ: dict[str, str] | None = None) -> str:
        done = subprocess.run([*self._tmux, *words], capture_output=True, text=True, env=environ)
        return done.stdout

    def press(self, *keys: str) -> None:
        self._run("send-keys", "-t", "main", *keys)

    def type(self, text: str) -> None:
        self._run("send-keys", "-t", "main", "-l", text)

    def screen(self) -> str:
        return self._run("capture-pane", "-p", "-t", "main")

    def shows(self, *words: str, timeout: float = 90.0) -> str:
        """Wait until all words are on the screen; the screen."""
        screen = ""

        def there() -> bool:
            nonlocal screen
            screen = self.screen()
            return all(word in screen for word in words)

        try:
            until(there, timeout)
        except AssertionError:
            raise AssertionError(f"{words} did not appear on:\n{screen}") from None
        return screen

    def close(self) -> None:
        self._run("kill-server")


@pytest.fixture
def terminal(lab: Lab) -> Iterator[Terminal]:
    shell = f"{sys.executable} -m cockpit; echo left with $?; sleep 60"
    opened = Terminal(lab, f"cd {lab.code} && PYTHONPATH={REPO} {shell}")
    yield opened
    opened.close()


def test_a_person_sees_a_job_cancels_it_and_gets_the_proof(lab: Lab, terminal: Terminal) -> None:
    lab.script(
        "import time\n"
        "for n in range(100000):\n"
        "    print('[rank0] \\x1b]0;owned\\x07 step', n, '[/data/x]', flush=True)\n"
        "    time.sleep(0.2)\n"
    )
    done = lab.run(
        "run", "-c", "lab", "-l", "plain", "--nodes", "2", "--detach", "--name", "seen", "train.py"
    )
    assert done.returncode == 0, done.stderr
    job = done.stdout.strip()
    terminal.shows("node0", "node1", "3/3 nodes live", "seen")
    terminal.press("2")
    terminal.shows("running", "seen", job)
    terminal.press("Enter")
    terminal.shows("no failure", "launcher", "[rank0]  step", "[/data/x]")
    terminal.press("C-d")
    terminal.shows("Cancel seen?", "node0", "node1", "Do nothing")
    terminal.type("seen")
    terminal.press("Enter")
    terminal.shows("cancelled", "nothing of it is left on 2 of 2 nodes")
    assert lab.processes(job) == []
    terminal.press("Enter")
    until(lambda: "nothing left" not in terminal.screen())
    terminal.press("q")
    terminal.shows("left with 0")


def test_quitting_touches_no_job_and_says_so(lab: Lab, terminal: Terminal) -> None:
    lab.script("import time\ntime.sleep(600)\n")
    job = lab.run("run", "-c", "lab", "-l", "plain", "--detach", "train.py").stdout.strip()
    terminal.shows("train", "3/3 nodes live")
    terminal.press("q")
    terminal.shows("left with 0", f"cockpit attach {job}")
    assert lab.status(job)["state"] in ("starting", "running")
    assert lab.run("cancel", job).returncode == 0


BEATING = """\
import os, sys, time
import cockpit
for step in range(100000):
    cockpit.heartbeat(step=step, loss=1 / (step + 1))
    print("step", step, "of", sys.argv[1], flush=True)
    time.sleep(0.1)
"""


def test_a_person_launches_from_the_form_sees_a_rank_die_cancels_and_gets_the_proof(
    lab: Lab, terminal: Terminal
) -> None:
    lab.script(BEATING)
    with lab.config.open("a") as file:
        file.write(
            '[jobs.drive]\ncluster = "lab"\nlauncher = "quick"\nnodes = 2\nnproc_per_node = 2\n'
            'script = "train.py"\nworking_dir = "code"\nmax_restarts = 1\n'
        )
    terminal.shows("3/3 nodes live")
    terminal.type(":reload")
    terminal.press("Enter")
    terminal.shows("read again")
    terminal.press("n")
    terminal.shows("Launch a new job", "none, from scratch")
    terminal.press("Right")
    terminal.shows("drive", "lab", "train.py", "--nnodes=2")
    for _ in range(10):  # one by one, as a person would
        terminal.press("Tab")
        time.sleep(0.1)
    terminal.type("words=1")
    # In the plan, not only in the field: what is launched is what was seen as a plan.
    terminal.shows("cockpit run -j drive words=1", "starts drive on 2 nodes of lab")
    terminal.press("C-j")
    terminal.shows("drive", "● running", "no failure", "● training")
    (job,) = (lab.state_dirs()[0] / "jobs").iterdir()
    victims = [pid for pid in lab.processes(job.name) if "RANK" in lab.environment(pid)]
    os.kill(victims[0], signal.SIGKILL)
    terminal.shows("✖ first", "SIGKILL")
    terminal.shows("● training")
    terminal.press("C-d")
    terminal.shows("Cancel drive?", "4 ranks on 2 nodes", "node0", "node1")
    terminal.type("drive")
    terminal.press("Enter")
    terminal.shows("nothing of it is left on 2 of 2 nodes")
    assert lab.processes(job.name) == []
    terminal.press("Escape")
    terminal.shows("■ cancelled")
