"""What holds for every test: nothing of the developer's machine leaks in, nothing is left behind.

Each test has a home of its own; cockpit code that blocks an event loop fails the test that ran
it, even where the error was swallowed; a process of an attempt that outlives the session is
killed and fails the session.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
import uuid
from collections.abc import Iterator
from pathlib import Path

import blockbuster.blockbuster
import pytest
from hypothesis import settings

from cockpit.protocol import layout

SESSION_ENV = "COCKPIT_TEST_SESSION"
"""Set for the whole session and inherited by what it starts."""

_SESSION = uuid.uuid4().hex
# Short, because sockets may live below it, and not in pytest's folder, which it prunes by itself.
_HOMES = Path(tempfile.mkdtemp(prefix="cockpit-test-"))
_SETTLE = 30.0
"""Seconds that the processes of attempts have to be gone after the last test."""

_survivors: list[str] = []

settings.register_profile("developer", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "developer")


def _forget_the_developer() -> None:
    """Their configuration, keys and agent: for fixtures of any scope, before the first one."""
    for name in list(os.environ):
        if name.startswith(("COCKPIT_", "XDG_", "GIT_")) or name == "SSH_AUTH_SOCK":
            del os.environ[name]
    # Hundreds of Pythons are started here: each would compile all of cockpit anew.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    os.environ.update({SESSION_ENV: _SESSION, "GIT_CONFIG_NOSYSTEM": "1", "HOME": str(_HOMES)})


_forget_the_developer()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest comes first, file by file, so that no worker is left alone with it.

    That is torch, then what has an sshd or a limit of time of its own, then files of many tests.
    pytest-xdist keeps to it with --no-loadscope-reorder.
    """
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)

    def cost(tests: list[pytest.Item]) -> tuple[bool, bool, int]:
        marks = {mark.name for test in tests for mark in test.iter_markers()}
        return "torch" in marks, bool(marks & {"sshd", "timeout"}), len(tests)

    by_cost = sorted(files.values(), key=cost, reverse=True)
    items[:] = [item for tests in by_cost for item in tests]


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The test's own, empty home folder; $HOME points to it."""
    folder = Path(tempfile.mkdtemp(dir=_HOMES, prefix=""))
    monkeypatch.setenv("HOME", str(folder))
    return folder


class _RecordedError(blockbuster.blockbuster.BlockingError):
    """Remembers where the loop was blocked: raising alone would be lost in an `except`."""

    seen: list[str] = []  # noqa: RUF012 - one list for all, emptied by the guard

    def __init__(self, func: str) -> None:
        super().__init__(func)
        frames = [f for f in traceback.extract_stack() if "/cockpit/" in f.filename]
        where = f" from {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
        self.seen.append(f"{func}{where}")


# Only calls with a frame of cockpit on the stack count: what tests and their tools do on a loop
# of their own is theirs.
_guard = blockbuster.blockbuster.BlockBuster(scanned_modules=["cockpit"])
# A line of logging is written at once, here and in production.
_guard.functions["io.TextIOWrapper.write"].can_block_in("logging/__init__.py", {"emit"})
# Our own rules are read once, when the first failure needs them, as a late import would be.
_guard.functions["io.TextIOWrapper.read"].can_block_in("cockpit/model/rules.py", {"builtin"})


@pytest.fixture(autouse=True)
def event_loop_guard(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fails a test in which cockpit blocked a running event loop."""
    monkeypatch.setattr(blockbuster.blockbuster, "BlockingError", _RecordedError)
    _RecordedError.seen.clear()
    _guard.activate()
    try:
        yield
    finally:
        _guard.deactivate()
    if _RecordedError.seen:
        pytest.fail("the event loop was blocked: " + "; ".join(_RecordedError.seen))


def _of_this_session(environ: dict[str, str]) -> bool:
    if layout.MARKER not in environ:
        return False
    if environ.get(SESSION_ENV) == _SESSION:
        return True
    # A session over SSH starts with a fresh environment; its attempts still lie in our folders.
    return environ.get(layout.ATTEMPT_DIR_ENV, "").startswith((f"{_HOMES}/", *_roots))


_roots: list[str] = []


def _processes_of_attempts() -> dict[int, str]:
    """pid -> description, of all processes of attempts that this session started."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            pairs = (entry / "environ").read_bytes().decode("utf-8", "replace").split("\0")
            environ = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
            if _of_this_session(environ):
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                marker = environ[layout.MARKER]
                found[int(entry.name)] = f"{marker}: {command.decode('utf-8', 'replace')}"
    return found


def pytest_sessionfinish(session: pytest.Session) -> None:
    factory = getattr(session.config, "_tmp_path_factory", None)
    if factory is not None:
        _roots.append(f"{factory.getbasetemp()}/")
    deadline = time.monotonic() + _SETTLE
    while (left := _processes_of_attempts()) and time.monotonic() < deadline:
        time.sleep(0.1)
    for pid, description in left.items():
        _survivors.append(f"{pid} {description}")
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if _survivors:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    shutil.rmtree(_HOMES, ignore_errors=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _survivors:
        terminalreporter.section("processes of attempts that outlived the session", red=True)
        for line in _survivors:
            terminalreporter.write_line(line)
