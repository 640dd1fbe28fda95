# ruff: noqa: SLF001 - torch has no public way to any of this
"""Puts the recorder around torch's private methods, in such a way that training never pays for it.

Whatever fails inside a hook is swallowed and reported once; a method that this version of torch
does not have is reported and left alone. The one exception that passes through every hook is the
one by which torch tells its own main thread that a signal came.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, NamedTuple

from cockpit.node.journal import Journal
from cockpit.node.launch.recorder import Recorder
from cockpit.node.launch.restarts import Restarts


class Guard:
    """`with guard("where"):` lets nothing out but `passing`; reports each place once."""

    def __init__(self, journal: Journal, passing: tuple[type[BaseException], ...] = ()) -> None:
        self.journal = journal
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
            self.journal.write("hook_error", where=where, error=what)
        return True

    def missing(self, name: str) -> None:
        self.journal.write("hook_missing", name=name)


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


class Hooks(NamedTuple):
    """What the wrappers call. `restarts` is None where this version's results are not found."""

    recorder: Recorder
    guard: Guard
    restarts: Restarts | None


def install(agent: type[Any], recorder: Recorder, guard: Guard) -> None:
    """Wrap the methods of torch's agent class `agent`; those that are missing are reported."""
    hooks = Hooks(recorder, guard, _restarts(agent, recorder, guard))
    wrappers: dict[str, Callable[[Callable[..., Any], Hooks], Callable[..., Any]]] = {
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
            setattr(agent, name, functools.wraps(original)(wrap(original, hooks)))


def _restarts(agent: type[Any], recorder: Recorder, guard: Guard) -> Restarts | None:
    """What answers requests, with the results that torch's loop over `agent` understands."""
    module = sys.modules[agent.__mro__[1].__module__]
    missing = [name for name in ("RunResult", "WorkerState") if not hasattr(module, name)]
    for name in missing:
        guard.missing(f"{module.__name__}.{name}")
    with guard("restarts"):
        return None if missing else Restarts(guard.journal, recorder, module)
    return None


def _around_rendezvous(original: Callable[..., Any], hooks: Hooks) -> Callable[..., Any]:
    recorder, guard = hooks.recorder, hooks.guard

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


def _around_start(original: Callable[..., Any], hooks: Hooks) -> Callable[..., Any]:
    recorder, guard = hooks.recorder, hooks.guard

    def start_workers(agent: Any, group: Any, *args: Any, **kwargs: Any) -> Any:
        with guard("start begins"):
            recorder.start_begins(agent)
        began = time.monotonic()
        pids = original(agent, group, *args, **kwargs)
        with guard("ranks started"):
            recorder.ranks_started(agent, group, pids, time.monotonic() - began)
        with guard("restarts begin"):
            if hooks.restarts is not None:
                hooks.restarts.generation_begins(agent, group)
        with guard("close"):
            _watch_close(agent, hooks)
        return pids

    return start_workers


def _watch_close(agent: Any, hooks: Hooks) -> None:
    """Look at the ranks in the moment before torch ends those that are left.

    Torch waits its own 30 s for them, whatever --shutdown-timeout says (measured with torch
    2.13), both after a failure and before a restart; here the option is honoured, and the shorter
    time of a request.
    """
    recorder, guard, restarts = hooks
    context = agent._pcontext
    original = context.close
    option = getattr(agent, "_shutdown_timeout", None)
    if option is None:
        option = recorder.shutdown_timeout

    def close(death_sig: Any = None, timeout: float = 30) -> Any:
        with guard("look at ranks"):
            recorder.close_begins(agent)
        with guard("restarts end"):
            if restarts is not None:
                restarts.generation_ends()
        asked = restarts.grace if restarts is not None else None
        limits = [limit for limit in (timeout, option, asked) if limit is not None]
        return original(death_sig, min(limits))

    context.close = close


def _around_monitor(original: Callable[..., Any], hooks: Hooks) -> Callable[..., Any]:
    recorder, guard, restarts = hooks

    def monitor_workers(agent: Any, group: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(agent, group, *args, **kwargs)
        verdict = None
        if restarts is not None:
            with guard("requests"):
                verdict = restarts.answer(agent, group, result)
            if verdict is not None:
                return restarts.carry_out(verdict, agent, group)
        with guard("monitor"):
            recorder.polled(agent, result)
        return result

    return monitor_workers


def _around_stop(original: Callable[..., Any], hooks: Hooks) -> Callable[..., Any]:
    recorder, guard = hooks.recorder, hooks.guard

    def stop_workers(agent: Any, group: Any, *args: Any, **kwargs: Any) -> Any:
        with guard("stop begins"):
            recorder.stop_begins(agent)
        began = time.monotonic()
        result = original(agent, group, *args, **kwargs)
        with guard("stopped"):
            recorder.stopped(time.monotonic() - began)
        return result

    return stop_workers
