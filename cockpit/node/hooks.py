# ruff: noqa: SLF001 - torch has no public way to any of this
"""Puts the recorder around torch's private methods, in such a way that training never pays for it.

Whatever fails inside a hook is swallowed and reported once; a method that this version of torch
does not have is reported and left alone. The one exception that passes through every hook is the
one by which torch tells its own main thread that a signal came.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

from cockpit.node.journal import Journal
from cockpit.node.recorder import Recorder


class Guard:
    """`with guard("where"):` lets nothing out but `passing`; reports each place once."""

    def __init__(self, journal: Journal, passing: tuple[type[BaseException], ...] = ()) -> None:
        self._journal = journal
        self._passing = passing
        self._reported: set[str] = set()

    def __call__(self, where: str) -> AbstractContextManager[None, bool]:
        return _Guarded(self, where)

    def swallows(self, where: str, error: BaseException) -> bool:
        """Whether `error` stays inside the hook `where`; reports it if so."""
        if isinstance(error, self._passing) or not isinstance(error, Exception):
            return False
        if where not in self._reported:
            self._reported.add(where)
            what = f"{type(error).__name__}: {error}"
            self._journal.write("hook_error", where=where, error=what)
        return True

    def missing(self, name: str) -> None:
        self._journal.write("hook_missing", name=name)


class _Guarded(AbstractContextManager[None, bool]):
    def __init__(self, guard: Guard, where: str) -> None:
        self._guard = guard
        self._where = where

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        return error is not None and self._guard.swallows(self._where, error)


def install(agent: type[Any], recorder: Recorder, guard: Guard) -> None:
    """Wrap the methods of torch's agent class `agent`; those that are missing are reported."""
    wrappers: dict[str, Callable[[Callable[..., Any], Recorder, Guard], Callable[..., Any]]] = {
        "_rendezvous": _around_rendezvous,
        "_start_workers": _around_start,
        "_monitor_workers": _around_monitor,
        "_stop_workers": _around_stop,
    }
    for name, wrap in wrappers.items():
        original = getattr(agent, name, None)
        if original is None:
            guard.missing(f"{agent.__name__}.{name}")
        else:
            setattr(agent, name, functools.wraps(original)(wrap(original, recorder, guard)))


def _around_rendezvous(
    original: Callable[..., Any], recorder: Recorder, guard: Guard
) -> Callable[..., Any]:
    def rendezvous(agent: Any, group: Any, *args: Any, **kwargs: Any) -> Any:
        with guard("rendezvous begins"):
            recorder.rendezvous_begins()
        began = time.monotonic()
        try:
            result = original(agent, group, *args, **kwargs)
        except BaseException as error:
            with guard("rendezvous failed"):
                recorder.rendezvous_failed(error, time.monotonic() - began)
            raise
        with guard("rendezvous done"):
            recorder.rendezvous_done(agent, group, time.monotonic() - began)
        return result

    return rendezvous


def _around_start(
    original: Callable[..., Any], recorder: Recorder, guard: Guard
) -> Callable[..., Any]:
    def start_workers(agent: Any, group: Any, *args: Any, **kwargs: Any) -> Any:
        with guard("start begins"):
            recorder.start_begins(agent)
        began = time.monotonic()
        pids = original(agent, group, *args, **kwargs)
        with guard("ranks started"):
            recorder.ranks_started(agent, group, pids, time.monotonic() - began)
        with guard("close"):
            _watch_close(agent, recorder, guard)
        return pids

    return start_workers


def _watch_close(agent: Any, recorder: Recorder, guard: Guard) -> None:
    """Look at the ranks in the moment before torch ends those that are left.

    Torch waits its own 30 s for them, whatever --shutdown-timeout says (measured with torch
    2.13), both after a failure and before a restart; here the option is honoured.
    """
    context = agent._pcontext
    original = context.close
    limit = getattr(agent, "_shutdown_timeout", None)
    if limit is None:
        limit = recorder.shutdown_timeout

    def close(death_sig: Any = None, timeout: float = 30) -> Any:
        with guard("look at ranks"):
            recorder.look()
        return original(death_sig, timeout if limit is None else min(timeout, limit))

    context.close = close


def _around_monitor(
    original: Callable[..., Any], recorder: Recorder, guard: Guard
) -> Callable[..., Any]:
    def monitor_workers(agent: Any, group: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(agent, group, *args, **kwargs)
        with guard("monitor"):
            recorder.polled(agent, result)
        return result

    return monitor_workers


def _around_stop(
    original: Callable[..., Any], recorder: Recorder, guard: Guard
) -> Callable[..., Any]:
    def stop_workers(agent: Any, group: Any, *args: Any, **kwargs: Any) -> Any:
        with guard("stop begins"):
            recorder.stop_begins(agent)
        began = time.monotonic()
        result = original(agent, group, *args, **kwargs)
        with guard("stopped"):
            recorder.stopped(time.monotonic() - began)
        return result

    return stop_workers
