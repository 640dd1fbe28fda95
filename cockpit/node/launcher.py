# ruff: noqa: SLF001 - torch has no public way to any of this
"""The instrumented launcher process: torchrun's own main(), and a journal of what it does.

`cockpit.node.elastic` calls `main` in the job's own Python. Arguments, redirects, restarts and
exit code stay torchrun's; where torch lacks something that is hooked, the job runs plain and the
journal says so. It never talks to the network and never ends the job for a reason of its own.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from cockpit.node import exit_barrier, hooks, torchargs, torchlogs
from cockpit.node.journal import Journal
from cockpit.node.oom import OomWatch
from cockpit.node.recorder import Recorder, process
from cockpit.protocol import layout

_MESSAGE = 2000
_INTERRUPTED = 130


def main(arguments: list[str]) -> None:
    """Run torchrun with `arguments`; raises what it raises, or SystemExit."""
    attempt_dir = os.environ.get(layout.ATTEMPT_DIR_ENV, "")
    if not os.path.isdir(attempt_dir):
        _say(f"{layout.ATTEMPT_DIR_ENV} does not name the attempt's folder: {attempt_dir!r}")
        raise SystemExit(1)
    journal = Journal(os.path.join(attempt_dir, layout.LAUNCHER_EVENTS))
    code = 1
    try:
        _run(arguments, attempt_dir, journal)
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        raise
    except KeyboardInterrupt:
        journal.write("launcher_exc", type="KeyboardInterrupt", message="interrupted")
        code = _INTERRUPTED
        raise
    except BaseException as error:
        journal.write("launcher_exc", type=type(error).__name__, message=_summary(error))
        raise
    finally:
        journal.write("launcher_exit", code=code)
        journal.close()


def _run(arguments: list[str], attempt_dir: str, journal: Journal) -> None:
    run = _import_torchrun(arguments, journal)
    guard = hooks.Guard(journal, _signal_exceptions())
    recorder = Recorder(journal, attempt_dir, OomWatch())
    fitted = torchargs.fit(arguments, _known_options(run, guard))
    recorder.shutdown_timeout = fitted.shutdown_timeout
    if fitted.left_out:
        _say(f"this torch does not know {', '.join(fitted.left_out)}; left out")
    with guard("install"):
        _instrument(recorder, guard, hosts_store=torchargs.hosts_store(arguments))
    torchlogs.install(run, recorder, guard)
    _prepare_environment(arguments, attempt_dir)
    run.main(fitted.arguments)


def _import_torchrun(arguments: list[str], journal: Journal) -> Any:
    """The module torch.distributed.run. Raises SystemExit where there is no usable torch."""
    about = {
        "process": process(os.getpid()),
        "argv": [sys.executable, *sys.argv[:1], *arguments],
        "python": sys.executable,
    }
    try:
        import torch
        import torch.distributed.run as run
    except (ImportError, OSError, RuntimeError) as error:
        journal.write("launcher", **about, torch="")
        message = f"{sys.executable} cannot import torch: {type(error).__name__}: {error}"
        journal.write("launcher_exc", type=type(error).__name__, message=message[:_MESSAGE])
        _say(f"{message}\n  (set `python` of the cluster or node to one that has torch)")
        raise SystemExit(1) from error
    journal.write("launcher", **about, torch=str(torch.__version__))
    return run


def _signal_exceptions() -> tuple[type[BaseException], ...]:
    """What torch raises in the main thread when a signal comes; hooks must let it through."""
    from torch.distributed.elastic.multiprocessing import api

    found = getattr(api, "SignalException", None)
    return (found,) if found is not None else ()


def _known_options(run: Any, guard: hooks.Guard) -> frozenset[str]:
    with guard("options"):
        return frozenset(run.get_args_parser()._option_string_actions)
    return frozenset(torchargs.NEWER_OPTIONS)


def _instrument(recorder: Recorder, guard: hooks.Guard, *, hosts_store: bool) -> None:
    from torch.distributed.elastic.agent.server import api
    from torch.distributed.elastic.rendezvous import RendezvousError
    from torch.distributed.elastic.utils import store
    from torch.distributed.launcher.api import LocalElasticAgent

    hooks.install(LocalElasticAgent, recorder, guard)
    key = api._TERMINAL_STATE_SYNC_ID
    lost = (RuntimeError, RendezvousError)
    exit_barrier.install(LocalElasticAgent, store, key, guard, hosts_store=hosts_store, lost=lost)


def _prepare_environment(arguments: list[str], attempt_dir: str) -> None:
    cleared = torchargs.clear_overrides(os.environ)
    if cleared:
        _say(f"ignoring {', '.join(cleared)}: they would change how torchrun starts")
    os.environ.update(torchargs.threads(arguments, os.environ))
    # Where torchrun copies the error of the first failed rank; ranks are given files of their own.
    errors = os.path.join(attempt_dir, layout.ERRORS)
    os.makedirs(errors, exist_ok=True)
    os.environ["TORCHELASTIC_ERROR_FILE"] = os.path.join(errors, "launcher.json")
    os.environ[layout.LAUNCHER_PID_ENV] = str(os.getpid())


def _summary(error: BaseException) -> str:
    """One line for people. torch's ChildFailedError is a page; its first failure says it."""
    first = getattr(error, "get_first_failure", None)
    if first is not None:
        rank, failure = first()
        return f"rank {rank} failed with exit code {failure.exitcode}"
    return next(iter(str(error).splitlines()), "")[:_MESSAGE]


def _say(message: str) -> None:
    sys.stderr.write(f"cockpit: {message}\n")
    sys.stderr.flush()
