"""`cockpit nodes` for real on this machine: once, again and again, and in place on a terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
LIMIT = 60.0


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a configuration of one node, this machine."""
    (tmp_path / "cockpit.toml").write_text(
        "[clusters.lab]\nexecutor = 'local'\n"
        f"nodes = ['here', 'other']\nstate_dir = '{tmp_path}/state'\n"
    )
    return tmp_path


def environment(place: Path, **more: str) -> dict[str, str]:
    known = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS", "LINES")}
    return {
        **known,
        "PYTHONPATH": str(REPO),
        "HOME": str(place),
        "TERM": "xterm-256color",
        "LC_ALL": "C.UTF-8",
        "COCKPIT_CONTROLLER_DIR": str(place / "controller"),
        "COCKPIT_SIMULATE_GPUS": "2",
        **more,
    }


NODES = ["nodes", "-c", "lab", "--node", "here"]


def cockpit(place: Path, *words: str, **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "cockpit", *words],
        cwd=place,
        env=environment(place, **more),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_once_and_not_on_a_terminal_it_is_plain_text(place: Path) -> None:
    out, err = cockpit(place, *NODES).communicate(timeout=LIMIT)
    lines = out.splitlines()
    assert err == ""
    assert lines[0].startswith("lab/here  online  ")
    assert "simulated GPUs" in lines[0]
    assert "cpu " in lines[0] and " ago" in lines[0]
    assert [line.split()[0] for line in lines if "simulated GPU 80GB" in line] == ["0", "1"]
    assert "\x1b" not in out


def test_where_only_ascii_can_be_shown_bars_are_ascii(place: Path) -> None:
    process = cockpit(place, *NODES, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    out, _ = process.communicate(timeout=LIMIT)
    assert "----------   0%" in out


def test_a_node_that_does_not_exist_is_named(place: Path) -> None:
    process = cockpit(place, "nodes", "--node", "nope")
    _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 64
    assert "there is no node nope" in err


def test_watching_as_json_gives_a_document_a_line_until_interrupted(place: Path) -> None:
    process = cockpit(place, *NODES, "--watch", "0.2", "--json")
    assert process.stdout is not None
    documents = [json.loads(process.stdout.readline()) for _ in range(3)]
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=LIMIT)
    assert (process.returncode, err) == (0, "")
    for document in documents:
        (node,) = document["nodes"]
        assert (node["name"], node["simulated"], len(node["gpus"])) == ("here", True, 2)
        assert node["health"] in ("ok", "warn")
        assert node["gpus"][0]["nvlink"] == {
            "active": 18, "total": 18, "tx": 0.0, "rx": 0.0, "errors": 0,
        }  # fmt: skip
    assert documents[0]["nodes"][0]["host"]["uptime"] <= documents[2]["nodes"][0]["host"]["uptime"]


def test_watching_without_a_terminal_repeats_the_table(place: Path) -> None:
    process = cockpit(place, *NODES, "--watch", "0.2")
    assert process.stdout is not None
    seen = 0
    while seen < 3:
        line = process.stdout.readline()
        assert line, "it ended"
        assert "\x1b" not in line
        seen += line.startswith("lab/here")
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=LIMIT)
    assert (process.returncode, err) == (0, "")


class Terminal:
    """A terminal with `cockpit nodes --watch` on it."""

    def __init__(self, place: Path, *words: str, rows: int = 20, **more: str) -> None:
        self._master, self._slave = pty.openpty()
        self.resize(rows, 100)
        self.before = termios.tcgetattr(self._slave)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cockpit", *words],
            cwd=place,
            env=environment(place, **more),
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            start_new_session=True,
        )
        self.output = ""

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def until(self, wanted: Callable[[str], bool]) -> str:
        """Everything that was written since the last call, once it is as wanted."""
        end = time.monotonic() + LIMIT
        while not wanted(self.output):
            assert time.monotonic() < end, repr(self.output[-2000:])
            if select.select([self._master], [], [], 0.1)[0]:
                self.output += os.read(self._master, 65536).decode("utf-8", "replace")
        output, self.output = self.output, ""
        return output

    def ended(self) -> str:
        """What was written until it ended."""
        output = self.until(lambda text: "\x1b[?1049l" in text)
        assert self.process.wait(LIMIT) == 0
        while select.select([self._master], [], [], 0)[0]:
            output += os.read(self._master, 65536).decode("utf-8", "replace")
        assert termios.tcgetattr(self._slave) == self.before
        return output

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)
        os.close(self._slave)


@pytest.fixture
def terminal(place: Path) -> Iterator[Callable[..., Terminal]]:
    terminals: list[Terminal] = []

    def start(*words: str, **options: object) -> Terminal:
        terminals.append(Terminal(place, *words, **options))  # type: ignore[arg-type]
        return terminals[-1]

    yield start
    for made in terminals:
        made.close()


def frames(output: str) -> list[list[str]]:
    """What was drawn, frame by frame, as lines."""
    return [frame.split("\r\n") for frame in output.split("\x1b[H")[1:]]


@pytest.mark.parametrize("leave", ["interrupt", "q", "hangup"])
def test_on_a_terminal_it_is_drawn_in_place_and_leaves_no_trace(
    terminal: Callable[..., Terminal], leave: str
) -> None:
    screen = terminal(*NODES, "--watch", "0.2")
    output = screen.until(lambda text: text.count("simulated GPU 80GB") >= 6)
    assert output.startswith("\x1b[?1049h\x1b[?25l\x1b[H")
    assert "1/1 nodes online" in output
    assert "\x1b[32m" in output
    if leave == "interrupt":
        screen.process.send_signal(signal.SIGINT)
    elif leave == "hangup":
        screen.process.send_signal(signal.SIGHUP)
    else:
        screen.type("q")
    rest = screen.ended()
    assert rest.endswith("\x1b[?25h\x1b[?1049l")
    assert "Traceback" not in output + rest


def test_a_change_of_size_is_drawn_at_once_and_no_line_is_too_long(
    terminal: Callable[..., Terminal],
) -> None:
    screen = terminal("nodes", "-c", "lab", "--watch", "600", NO_COLOR="1")
    output = screen.until(lambda text: text.count("simulated GPU 80GB") >= 4 and "\x1b[J" in text)
    assert "\x1b[3" not in output
    for rows, shown in ((3, "lab/other"), (2, "more lines")):
        screen.resize(rows, 40)
        os.killpg(screen.process.pid, signal.SIGWINCH)
        drawn = screen.until(
            lambda text, rows=rows, shown=shown: any(  # type: ignore[misc]
                len(frame) == rows and shown in frame[-1] for frame in frames(text)
            )
        )
        for line in frames(drawn)[-1]:
            assert len(line.replace("\x1b[K", "").replace("\x1b[J", "").rstrip("\r")) <= 40
    screen.type("q")
    screen.ended()
