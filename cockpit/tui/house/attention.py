"""Asking for a person's attention: bell, terminal title, desktop notification, a program.

House tells it what happened. Only escapes that are composed here, from cleaned text, reach the
terminal. The program of `[notify] command` runs on this machine, one at a time, with a time limit;
nobody waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import Callable, Mapping, Sequence

from cockpit.profiles.types import Notify
from cockpit.text import clean, count_of
from cockpit.tui.frame import Frame, is_live
from cockpit.tui.house.happenings import Happening

TIME_LIMIT = 30.0
"""Seconds that the program may take."""

WAITING = 100
"""Happenings that may wait for the program; what comes then is left out, and that is said."""

_LONGEST = 200
"""Characters of a notification."""

_ONE_ESCAPE = ("WezTerm", "ghostty")
"""Terminals that understand both escapes and would show two notifications."""

_PLACE = re.compile(r"\{(title|text|kind|job|node)\}")
_CONCERNS = {"end": "end", "failure": "failure", "stall": "stall", "restart": "restart"}

SAVE_TITLE = "\x1b[22;0t"
RESTORE_TITLE = "\x1b[23;0t"


def concern(happening: Happening) -> str:
    """The word of `[notify] on` that a happening is asked about with; "" for none."""
    if happening.kind == "node":
        return "node" if happening.tone == "bad" else ""
    return _CONCERNS.get(happening.kind, "")


def title_escape(title: str) -> str:
    """Sets the title of the window, or of the tab that it is."""
    return f"\x1b]2;{_plain(title)}\x07"


def desktop_escapes(title: str, text: str, environ: Mapping[str, str]) -> str:
    """OSC 9 (iTerm2, Windows Terminal …) and OSC 777 (VTE, foot, WezTerm …); through tmux, if any.

    One of them only where the terminal is known to understand both.
    """
    title, text = _plain(title).replace(";", ","), _plain(text)
    rich = f"\x1b]777;notify;{title};{text}\x07"
    simple = f"\x1b]9;{title}: {text}\x07"
    both = [rich] if environ.get("TERM_PROGRAM") in _ONE_ESCAPE else [simple, rich]
    return "".join(through_tmux(each) if environ.get("TMUX") else each for each in both)


def through_tmux(escape: str) -> str:
    """An escape that tmux hands on to the terminal outside."""
    return "\x1bPtmux;" + escape.replace("\x1b", "\x1b\x1b") + "\x1b\\"


def _plain(text: str) -> str:
    return clean(" ".join(text.split()))[:_LONGEST]


def filled(argv: Sequence[str], title: str, happening: Happening, job_name: str) -> tuple[str, ...]:
    """The program's arguments with their places filled in, each once."""
    values = {
        "title": title,
        "text": happening.text,
        "kind": concern(happening),
        "job": job_name,
        "node": happening.node,
    }
    return tuple(_PLACE.sub(lambda found: values[found[1]], each) for each in argv)


class Attention:
    """`write` sends escapes to the terminal, `say` shows a message on the screen."""

    def __init__(
        self,
        notify: Notify,
        write: Callable[[str], None],
        say: Callable[[str], None],
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.on = True
        self._notify = notify
        self._write = write
        self._say = say
        self._environ = os.environ if environ is None else environ
        self._title = ""
        self._news = ""
        self._program = _Program(notify.command, say) if notify.command else None

    def tell(self, happenings: Sequence[Happening], frame: Frame) -> None:
        """Ask for attention, if any of this is worth it."""
        if not self.on:
            return
        worth = [each for each in happenings if concern(each) in self._notify.on]
        if not worth:
            return
        title, text = _summary(worth)
        if self._notify.bell:
            self._write("\x07")
        if self._notify.desktop:
            self._write(desktop_escapes(title, text, self._environ))
        self._news = text
        self.show_title(frame)
        if self._program is not None:
            for each in worth:
                job = frame.job(each.job)
                self._program.call(title, each, job.name if job is not None else "")

    def show_title(self, frame: Frame) -> None:
        """Keep the terminal's title true: what asks for attention, else what runs."""
        if not self._notify.title or not self._notify.on or not self.on:
            return
        running = sum(1 for job in frame.fleet.jobs if is_live(job))
        title = f"! {self._news} - cockpit" if self._news else f"cockpit - {running} running"
        if title != self._title:
            self._write(("" if self._title else SAVE_TITLE) + title_escape(title))
            self._title = title

    def seen(self) -> None:
        """The person is here."""
        self._news = ""

    def again(self) -> None:
        """The terminal was somebody else's meanwhile: its title is not ours any more."""
        self._title = ""

    def close(self) -> None:
        """Let no program run on unwatched."""
        if self._program is not None:
            self._program.close()


def _summary(happenings: Sequence[Happening]) -> tuple[str, str]:
    first = happenings[0].text
    if len(happenings) == 1:
        return "cockpit", first
    return "cockpit", f"{first} (and {count_of(len(happenings) - 1, 'more event')})"


class _Program:
    """Runs a command for one happening after the other."""

    def __init__(self, argv: Sequence[str], say: Callable[[str], None]) -> None:
        self._argv = argv
        self._say = say
        self._waiting: list[tuple[str, ...]] = []
        self._task: asyncio.Task[None] | None = None
        self._complained = False

    def call(self, title: str, happening: Happening, job_name: str) -> None:
        if len(self._waiting) >= WAITING:
            self._complain(f"it is too slow: {count_of(WAITING, 'event')} wait for it")
            return
        self._waiting.append(filled(self._argv, title, happening, job_name))
        if self._task is None or self._task.done():
            loop = asyncio.get_running_loop()
            self._task = loop.create_task(self._run(), name="notify command")

    def close(self) -> None:
        self._waiting.clear()
        if self._task is not None:
            self._task.cancel()

    def _complain(self, why: str) -> None:
        """Once: what fails again and again would bury everything else."""
        if not self._complained:
            self._complained = True
            self._say(f"[notify] command {self._argv[0]}: {why}")

    async def _run(self) -> None:
        while self._waiting:
            argv = self._waiting.pop(0)
            try:
                await self._one(argv)
            except (OSError, ValueError) as error:
                # ValueError: an argument that no program can have, such as one with a NUL.
                why = error.strerror if isinstance(error, OSError) else None
                self._complain(f"cannot be started: {why or error}")

    async def _one(self, argv: tuple[str, ...]) -> None:
        nowhere = asyncio.subprocess.DEVNULL
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=nowhere, stdout=nowhere, stderr=nowhere, start_new_session=True
        )
        try:
            code = await asyncio.wait_for(process.wait(), TIME_LIMIT)
        except asyncio.TimeoutError:
            self._complain(f"was ended, it took more than {TIME_LIMIT:g} s")
        else:
            if code:
                self._complain(f"failed with exit code {code}")
        finally:
            if process.returncode is None:
                # With all that it started: it leads a session of its own.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
