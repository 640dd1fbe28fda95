"""A shell on a node: on the person's own terminal, which comes back whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path

import pytest
from tui_pty import HERE, Terminal
from tui_quiet import until
from tui_screen import Opener
from tui_world import healthy, troubled

from cockpit.errors import LinkError, UsageError
from cockpit.transport.factory import transport_for
from cockpit.transport.link import NodeLink
from cockpit.transport.ptyshell import PtyShell
from cockpit.transport.shell import ShellRequest, command
from cockpit.transport.virtual import VirtualCluster
from cockpit.tui.house.rawterminal import Escape

SHELL = HERE / "shell_screen.py"
ENTER = b"\r"


@pytest.mark.parametrize("down", [0, 1])
def test_a_shell_takes_the_terminal_and_gives_it_back_while_the_links_live_on(
    tmp_path: Path, down: int
) -> None:
    terminal = Terminal(SHELL, str(tmp_path / "nodes"), SHELL="/bin/sh", PS1="$ ")
    with contextlib.closing(terminal):
        terminal.read_until(b"zhere")
        terminal.press(b"1" + b"j" * down + b"s")
        terminal.read_until(b"leaves it at once")
        terminal.press(b"stty size; echo at-$((6*7)); tty" + ENTER)
        terminal.read_until(b"/dev/pts/")
        assert b"36 120" in terminal.seen
        assert b"at-42" in terminal.seen
        terminal.press(b"exit 7" + ENTER)
        terminal.read_until(b"\x1b[?1049h")
        terminal.read_until(b"exit code 7")
        terminal.press(b"2")
        terminal.read_until(b"no jobs")
        assert terminal.leave() == 0
    assert b"links lived on: True" in terminal.seen


def test_a_shell_that_hangs_is_left_with_tilde_and_dot(tmp_path: Path) -> None:
    terminal = Terminal(SHELL, str(tmp_path / "nodes"), SHELL="/bin/sh")
    with contextlib.closing(terminal):
        terminal.read_until(b"zhere")
        terminal.press(b"s")
        terminal.read_until(b"leaves it at once")
        terminal.press(b"echo at-$((6*7)); sleep 600" + ENTER)
        terminal.read_until(b"at-42")
        terminal.resize(30, 100)
        terminal.press(b"~.")
        terminal.read_until(b"exit code 129")
        assert terminal.leave() == 0
    assert b"links lived on: True" in terminal.seen


async def test_an_open_shell_hears_of_a_new_size_and_of_its_directory(tmp_path: Path) -> None:
    virtual = VirtualCluster(tmp_path / "nodes", ["a"])
    await virtual.start()
    cluster = virtual.cluster("demo", python=sys.executable)
    link = NodeLink("a", transport_for(cluster, cluster.nodes[0]))
    place = tmp_path / "with [brackets] and $PATH"
    place.mkdir()
    seen = bytearray()
    try:
        await link.start()
        await link.ready(30.0)
        shell = await link.shell(ShellRequest("vt100", 80, 24, str(place), seen.extend))
        shell.write(b'pwd; echo "$TERM"; stty size\n')
        await until(lambda: b"24 80" in seen)
        assert str(place).encode() in seen
        assert b"vt100" in seen
        shell.resize(132, 43)
        shell.write(b"stty size\n")
        await until(lambda: b"43 132" in seen)
        shell.write(b"kill -9 $$\n")
        assert await asyncio.wait_for(shell.ended(), 30.0) == 137
        await shell.close()
        assert link.online
        other = await link.shell(ShellRequest("vt100", 80, 24, "", seen.extend))
        await link.close()
        with pytest.raises(LinkError, match="connection is lost"):
            await asyncio.wait_for(other.ended(), 30.0)
        with pytest.raises(LinkError):
            await link.shell(ShellRequest("vt100", 80, 24, "", seen.extend))
    finally:
        await link.close()
        await virtual.close()


async def test_closing_a_shell_of_this_machine_hangs_up(tmp_path: Path) -> None:
    seen = bytearray()
    request = ShellRequest("dumb", 80, 24, "", seen.extend)
    argv = ["/bin/sh", "-c", "echo up; sleep 600"]
    shell = await PtyShell.start(argv, {"PATH": "/usr/bin:/bin"}, str(tmp_path), request)
    await until(lambda: b"up" in seen)
    await shell.close()
    assert await asyncio.wait_for(shell.ended(), 30.0) == 129
    shell.write(b"dropped")
    shell.resize(1, 1)


async def test_a_shell_that_cannot_be_started_says_so(tmp_path: Path) -> None:
    request = ShellRequest("dumb", 80, 24, "", lambda _: None)
    with pytest.raises(LinkError, match="cannot be started"):
        await PtyShell.start(["/bin/sh"], {}, str(tmp_path / "missing"), request)


@pytest.mark.parametrize("name", ["it's", "a!b", "back\\slash", "new\nline"])
def test_a_folder_that_a_login_shell_might_misread_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        command(f"/data/{name}")


@pytest.mark.parametrize(
    ("typed", "passed", "left"),
    [
        ([b"~."], b"", True),
        ([b"ls\r", b"~", b"."], b"ls\r", True),
        ([b"~~."], b"~.", False),
        ([b"ls ~.\r"], b"ls ~.\r", False),
        ([b"~/x\r"], b"~/x\r", False),
        ([b"~", b"~", b"\r"], b"~\r", False),
    ],
)
def test_tilde_and_dot_leave_only_at_the_beginning_of_a_line(
    typed: list[bytes], passed: bytes, left: bool
) -> None:
    escape = Escape()
    outcomes = [escape.feed(data) for data in typed]
    assert b"".join(data for data, _ in outcomes) == passed
    assert outcomes[-1][1] is left


async def test_the_shell_of_a_job_opens_in_its_folder_and_that_of_a_node_at_home(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(healthy()) as screen:
        shells = screen.source.shells
        monkeypatch.setattr(screen.app, "suspend", contextlib.nullcontext)
        await screen.press("s")
        assert shells.opened == [("lab", "gpu01", "")]
        assert screen.said[-1] == "the shell on gpu01 ended with exit code 3"
        await screen.press("3", "j", "j", "s")
        cluster, node, directory = shells.opened[-1]
        assert (cluster, directory) == ("lab", f"/jobs/llama-1a2b/{node}")


@pytest.mark.parametrize(
    ("failure", "said"), [("link", b"no shell on gpu01"), ("defect", b"RuntimeError")]
)
def test_a_shell_that_fails_says_why_and_the_screen_is_back(failure: str, said: bytes) -> None:
    with contextlib.closing(Terminal(SHELL_FAILS=failure)) as terminal:
        terminal.read_until(b"gpu01")
        terminal.press(b"1")
        terminal.press(b"j")
        terminal.press(b"s")
        terminal.read_until(said)
        assert b"\x1b[?1049h" in terminal.seen.rpartition(b"\x1b[?1049l")[2]
        terminal.press(b"2")
        terminal.read_until(b"failed")
        assert terminal.leave() == 0


async def test_no_shell_opens_read_only_or_on_a_node_that_is_away(opened: Opener) -> None:
    async with opened(healthy(), read_only=True) as screen:
        await screen.press("s")
        assert screen.said[-1] == "Shell on the node: the cockpit is read-only"
        assert screen.source.shells.opened == []
    async with opened(troubled()) as screen:
        keys = [f"{node.cluster}/{node.name}" for node in screen.source.fleet.nodes]
        for _ in keys:
            if screen.app.node is not None and screen.app.node.name == "gpu02":
                break
            await screen.press("j")
        await screen.press("s")
        assert screen.said[-1] == "Shell on the node: gpu02 is unreachable"


async def test_a_terminal_that_cannot_be_handed_over_is_said(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        await screen.press("s")
        assert screen.said[-1] == (
            "no shell on gpu01: this terminal cannot be handed to another program"
        )
        assert screen.source.shells.opened == []
