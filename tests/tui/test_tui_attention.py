"""Bell, title, notification and program: what reaches the terminal, and that nothing blocks."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from tui_quiet import until
from tui_screen import Opener
from tui_world import BOOM, MONO, WALL, healthy, job

from cockpit.model.types import JobState
from cockpit.profiles.types import Notify
from cockpit.tui.frame import Frame
from cockpit.tui.house import attention
from cockpit.tui.house.attention import Attention, concern, desktop_escapes, filled, title_escape
from cockpit.tui.house.happenings import SETTLED, Happening

ON = ("end", "failure", "stall")
FAILURE = Happening(WALL, "failure", "bad", "dpo failed: boom", "lab", "", "dpo-77aa")
FRAME = Frame(healthy(), MONO, WALL)
EVIL = "\x1b]52;c;PAYLOAD\x07a;b\nc\x9b2J"


class Ears:
    """What was written to the terminal and said on the screen."""

    def __init__(self, notify: Notify, **environ: str) -> None:
        self.written: list[str] = []
        self.said: list[str] = []
        self.attention = Attention(notify, self.written.append, self.said.append, environ)

    @property
    def heard(self) -> str:
        return "".join(self.written)


def test_a_failure_rings_names_itself_in_the_title_and_notifies_the_desktop() -> None:
    ears = Ears(Notify(on=ON))
    ears.attention.tell([FAILURE], FRAME)
    assert ears.heard.startswith("\x07")
    assert "\x1b]9;cockpit: dpo failed: boom\x07" in ears.heard
    assert "\x1b]777;notify;cockpit;dpo failed: boom\x07" in ears.heard
    assert ears.heard.endswith(attention.SAVE_TITLE + "\x1b]2;! dpo failed: boom - cockpit\x07")


def test_the_title_goes_back_to_what_runs_once_the_person_is_there() -> None:
    ears = Ears(Notify(on=ON, bell=False, desktop=False))
    ears.attention.tell([FAILURE], FRAME)
    ears.written.clear()
    ears.attention.show_title(FRAME)
    assert ears.written == []
    ears.attention.seen()
    ears.attention.show_title(FRAME)
    assert ears.written == ["\x1b]2;cockpit - 2 running\x07"]


@pytest.mark.parametrize(
    ("notify", "sign"),
    [
        (Notify(on=ON, bell=False), "\x07\x1b"),
        (Notify(on=ON, title=False), "\x1b]2;"),
        (Notify(on=ON, desktop=False), "\x1b]9;"),
        (Notify(on=()), "\x07"),
        (Notify(on=("stall",)), "\x07"),
    ],
)
def test_each_way_can_be_switched_off(notify: Notify, sign: str) -> None:
    ears = Ears(notify)
    ears.attention.tell([FAILURE], FRAME)
    assert (
        not ears.heard.startswith(sign) if sign.startswith("\x07\x1b") else sign not in ears.heard
    )


def test_switched_off_for_the_session_nothing_is_written() -> None:
    ears = Ears(Notify(on=ON))
    ears.attention.on = False
    ears.attention.tell([FAILURE], FRAME)
    ears.attention.show_title(FRAME)
    assert ears.written == []


def test_many_happenings_at_once_ask_once() -> None:
    ears = Ears(Notify(on=ON))
    ears.attention.tell([FAILURE] * 40, FRAME)
    assert ears.heard.count("\x1b]9;") == 1
    assert "(and 39 more events)" in ears.heard


@pytest.mark.parametrize("compose", [title_escape, lambda text: desktop_escapes(text, text, {})])
def test_no_escape_of_a_remote_text_gets_into_ours(compose: object) -> None:
    assert callable(compose)
    escapes = compose(EVIL)
    inner = escapes
    for own in ("\x1b]2;", "\x1b]9;", "\x1b]777;notify;", "\x07"):
        inner = inner.replace(own, "")
    assert inner.isprintable()
    assert "PAYLOAD" not in escapes


def test_through_tmux_the_escape_is_wrapped_and_its_own_escapes_are_doubled() -> None:
    escapes = desktop_escapes("t", "x", {"TMUX": "/tmp/tmux-0/default,1,0"})
    assert escapes.startswith("\x1bPtmux;\x1b\x1b]9;t: x\x07\x1b\\")
    assert escapes.count("\x1bPtmux;") == 2


def test_a_terminal_that_understands_both_gets_one_notification() -> None:
    assert desktop_escapes("t", "x", {"TERM_PROGRAM": "WezTerm"}) == "\x1b]777;notify;t;x\x07"


def test_a_node_concerns_only_when_it_is_lost() -> None:
    assert concern(Happening(WALL, "node", "bad", "gpu02 lost")) == "node"
    assert concern(Happening(WALL, "node", "ok", "gpu02 is back")) == ""
    assert concern(Happening(WALL, "started", "ok", "x")) == ""


def test_places_are_filled_once_and_stay_one_argument_each() -> None:
    happening = FAILURE._replace(text="{job} $(rm) 'x'", node="gpu02")
    argv = filled(("say", "{kind}:{text}", "{node}{missing}", "{title}"), "T", happening, "{kind}")
    assert argv == ("say", "failure:{job} $(rm) 'x'", "gpu02{missing}", "T")


def read(path: Path) -> str:
    return path.read_text("utf-8") if path.exists() else ""


def is_gone(pid: str) -> bool:
    """The process has ended, whether somebody has waited for it or not."""
    try:
        return Path("/proc", pid.strip(), "stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


async def test_the_program_runs_for_each_happening_in_their_order(tmp_path: Path) -> None:
    out = tmp_path / "out"
    code = "import sys; open(sys.argv[1], 'a').write(' '.join(sys.argv[2:]) + '\\n')"
    argv = (sys.executable, "-c", code, str(out), "{kind}", "{job}", "{text}")
    ears = Ears(Notify(on=ON, command=argv))
    ears.attention.tell([FAILURE, FAILURE._replace(kind="stall", text="second")], FRAME)
    await until(lambda: read(out).count("\n") == 2)
    assert read(out) == "failure dpo dpo failed: boom\nstall dpo second\n"
    assert ears.said == []


@pytest.mark.parametrize(
    ("argv", "limit", "complaint"),
    [
        (("/no/such/program",), 60.0, "cannot be started: No such file"),
        (("sh", "-c", "exit 3"), 60.0, "failed with exit code 3"),
        (("sleep", "600"), 0.2, "was ended, it took more than 0.2 s"),
    ],
)
async def test_a_program_that_fails_is_said_once(
    argv: tuple[str, ...], limit: float, complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "TIME_LIMIT", limit)
    ears = Ears(Notify(on=ON, command=argv))
    ears.attention.tell([FAILURE, FAILURE], FRAME)
    task = ears.attention._program._task  # type: ignore[union-attr]
    assert task is not None
    await asyncio.wait_for(task, 60.0)
    assert len(ears.said) == 1
    assert complaint in ears.said[0]


async def test_an_argument_that_no_program_can_have_is_said_and_the_next_one_runs(
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    ears = Ears(Notify(on=ON, command=("sh", "-c", 'echo "$1" >> "$0"', str(out), "{text}")))
    nul = FAILURE._replace(text="a\0b")
    ears.attention.tell([nul, FAILURE._replace(text="second")], FRAME)
    await until(lambda: read(out) == "second\n")
    assert len(ears.said) == 1
    assert "cannot be started" in ears.said[0]


async def test_a_program_that_takes_too_long_is_ended_with_what_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "TIME_LIMIT", 0.2)
    out, usual, runs = tmp_path / "out", asyncio.wait_for, asyncio.Event()

    async def when_it_runs(work: Any, limit: float) -> Any:
        await runs.wait()
        return await usual(work, limit)

    monkeypatch.setattr(asyncio, "wait_for", when_it_runs)
    ears = Ears(Notify(on=ON, command=("sh", "-c", f"sleep 600 & echo $! > {out}; wait")))
    ears.attention.tell([FAILURE], FRAME)
    task = ears.attention._program._task  # type: ignore[union-attr]
    assert task is not None
    await until(lambda: read(out).endswith("\n"))
    runs.set()
    await usual(task, 60.0)
    await until(lambda: is_gone(read(out)))


async def test_a_program_that_is_too_slow_does_not_collect_work_for_ever(tmp_path: Path) -> None:
    out = tmp_path / "out"
    ears = Ears(Notify(on=ON, command=("sh", "-c", f"echo $$ > {out}; exec sleep 600")))
    ears.attention.tell([FAILURE] * (attention.WAITING + 5), FRAME)
    assert len(ears.said) == 1
    task = ears.attention._program._task  # type: ignore[union-attr]
    assert task is not None
    await until(lambda: read(out).endswith("\n"))
    ears.attention.close()
    await asyncio.wait({task}, timeout=60.0)
    assert task.done()
    assert is_gone(read(out))


async def test_a_job_that_fails_on_the_screen_asks_for_attention_unless_it_is_off(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(healthy(), notify=Notify(on=ON)) as screen:
        written: list[str] = []
        monkeypatch.setattr(screen.app.house.attention, "_write", written.append)
        screen.frozen.passed += SETTLED + 1
        screen.source.change(job(state=JobState.FAILED, cause=BOOM))
        await screen.pulse()
        assert any("llama failed" in each for each in written)
        await screen.press("A")
        assert "off" in screen.said[-1]
        written.clear()
        screen.source.change(job("new-1", "new", state=JobState.FAILED, age=-SETTLED))
        await screen.pulse()
        assert written == []
        await screen.press("colon", *"attention on", "enter")
        assert screen.app.house.attention.on
