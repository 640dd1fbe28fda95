"""The instrumented launcher process: torchrun's own main(), and a journal of what it does.

`cockpit.node.elastic` calls `main` in the job's own Python. Arguments, redirects, restarts and
exit code stay the launcher's own; where it lacks something that is hooked, the job runs plain and
the journal says so. It opens no connection and never ends the job for a reason of its own.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from cockpit.node.journal import RESERVE, Journal
from cockpit.node.launch import hooks, torchargs
from cockpit.node.launch.flavour import Torchrun
from cockpit.node.launch.recorder import Recorder, process
from cockpit.node.launch.restarts import NoRestartsLeft, Stopped
from cockpit.node.oom import OomWatch
from cockpit.protocol import layout

_MESSAGE = 2000
_INTERRUPTED = 130


def main(arguments: list[str], flavour: Torchrun | None = None) -> None:
    """Run torchrun, or another `flavour`, with `arguments`; raises what it raises or SystemExit."""
    attempt_dir = os.environ.get(layout.ATTEMPT_DIR_ENV, "")
    if not os.path.isdir(attempt_dir):
        _say(f"{layout.ATTEMPT_DIR_ENV} does not name the attempt's folder: {attempt_dir!r}")
        raise SystemExit(1)
    journal = Journal(os.path.join(attempt_dir, layout.LAUNCHER_EVENTS), RESERVE)
    code = 1
    try:
        _run(flavour or Torchrun(), arguments, attempt_dir, journal)
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        raise
    except (Stopped, NoRestartsLeft) as end:
        journal.write("launcher_exc", type=type(end).__name__, message=_summary(end))
        _say(f"the ranks were stopped: {end}")
        raise SystemExit(code) from None
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


def _run(flavour: Torchrun, arguments: list[str], attempt_dir: str, journal: Journal) -> None:
    program = _load(flavour, arguments, journal)
    guard = hooks.Guard(journal, flavour.passing())
    recorder = Recorder(journal, attempt_dir, OomWatch())
    fitted = flavour.fit(program, arguments, guard)
    recorder.shutdown_timeout = fitted.shutdown_timeout
    if fitted.left_out:
        _say(f"this {flavour.name} does not know {', '.join(fitted.left_out)}; left out")
    with guard("install"):
        agent = flavour.agent(program)
        hooks.install(agent, recorder, guard)
        flavour.install(program, agent, arguments, recorder, guard)
    _prepare_environment(arguments, attempt_dir)
    flavour.run(program, fitted.arguments)


def _load(flavour: Torchrun, arguments: list[str], journal: Journal) -> Any:
    """The program's module. Raises SystemExit where there is none that works."""
    about = {
        "process": process(os.getpid()),
        "argv": [sys.executable, *sys.argv[:1], *arguments],
        "python": sys.executable,
    }
    try:
        program = flavour.load()
        versions = flavour.versions()
    except (ImportError, OSError, RuntimeError) as error:
        journal.write("launcher", **about, torch="")
        message = f"{sys.executable} cannot import {flavour.name}: {type(error).__name__}: {error}"
        journal.write("launcher_exc", type=type(error).__name__, message=message[:_MESSAGE])
        _say(f"{message}\n  (set `python` of the cluster or node to one that has {flavour.name})")
        raise SystemExit(1) from error
    journal.write("launcher", **about, **versions)
    return program


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
