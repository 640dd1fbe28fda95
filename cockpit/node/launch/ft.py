# ruff: noqa: SLF001 - neither torch nor ft_launcher has a public way to any of this
"""What the instrumented launcher process has to know of ft_launcher, of nvidia-resiliency-ext.

`cockpit.node.elastic` hands it to `launcher`. ft_launcher was made from torchrun, and older
versions use a copy of torch's elastic package; so whatever is hooked is taken from
ft_launcher's own module. Beside it run its rank monitors, see `ftmonitor`.
"""

from __future__ import annotations

import atexit
import functools
import importlib.metadata
import os
import shutil
import sys
import tempfile
from typing import Any

from cockpit.node.launch import (
    exit_barrier,
    ftargs,
    ftcompat,
    ftconfig,
    ftmonitor,
    ftresults,
    torchargs,
    torchlogs,
)
from cockpit.node.launch.flavour import Torchrun, install_exit_barrier
from cockpit.node.launch.hooks import Guard
from cockpit.node.launch.recorder import Recorder
from cockpit.protocol import layout

_LONGEST = 107 - len("/_ft_launcher1234567_to_rmon.socket")
"""Characters of a folder in which ft_launcher's sockets have names that the kernel takes."""


class FtLauncher(Torchrun):
    """`ft_launcher`."""

    name = "nvidia-resiliency-ext"

    def __init__(self) -> None:
        self._results = ""
        self._succeeded = False
        self._error: BaseException | None = None

    def load(self) -> Any:
        # Its monitors unpickle what comes through sockets in the folder for temporary files, which
        # others may write to. Only this process is told, so ranks keep the folder they know.
        tempfile.tempdir = _private_folder()
        atexit.register(shutil.rmtree, tempfile.tempdir, ignore_errors=True)
        import nvidia_resiliency_ext.fault_tolerance.launcher as program

        return program

    def versions(self) -> dict[str, str]:
        return {**super().versions(), "nvrx": importlib.metadata.version(self.name)}

    def passing(self) -> tuple[type[BaseException], ...]:
        import nvidia_resiliency_ext.fault_tolerance.launcher as program

        found = getattr(program, "SignalException", None)
        return (found,) if found is not None else super().passing()

    def fit(self, program: Any, arguments: list[str], guard: Guard) -> torchargs.Fitted:
        options = ftargs.parse(arguments)
        known = frozenset(options.given) - ftargs.OPTIONAL
        with guard("options"):
            known = frozenset(program.get_args_parser()._option_string_actions)
        path, section = ftconfig.prepare(options.given[ftargs.CONFIG])
        options.given[ftargs.CONFIG] = path
        options.given[ftargs.NIC_MONITOR] = str(bool(section.get("enable_nic_monitor")))
        self._results = options.given.get(ftargs.RESULTS, "")
        if self._results:
            os.environ["JOB_RESULTS_FILE"] = self._results
        cycles = options.given.get(ftargs.CYCLE_INFO)
        if cycles and ftargs.CYCLE_INFO in known:
            os.makedirs(cycles, exist_ok=True)
        return ftargs.fit(options, known)

    def agent(self, program: Any) -> type[Any]:
        return program.LocalElasticAgent  # type: ignore[no-any-return]

    def install(
        self,
        program: Any,
        agent: type[Any],
        arguments: list[str],
        recorder: Recorder,
        guard: Guard,
    ) -> None:
        lent = False
        with guard("ft: round"):
            lent = ftcompat.lend_round()
        if lent:
            # Nobody could tell whom to wait for. The ranks are watched all the same, so this is
            # no hook that is missing.
            exit_barrier.say("this ft_launcher: nodes wait 300 s at most for each other's end")
        else:
            with guard("exit barrier is installed"):
                install_exit_barrier(agent, arguments, guard)
        torchlogs.install(program, recorder, guard)
        with guard("ft: main"):
            self._keep_error(program)
        with guard("ft: group"):
            ftcompat.lend_master(sys.modules[agent.__mro__[1].__module__].WorkerGroup)
        with guard("ft: leftovers"):
            ftcompat.widen_sweep(program)
        pipe = ftmonitor.Pipe()
        folder = os.environ.get(layout.SLOTS_ENV, "")
        with guard("ft: rank monitors"):
            ftmonitor.install(program.RankMonitorServer, folder, pipe, guard)
        with guard("ft: ranks"):
            self._watch(agent, recorder, pipe, guard)

    def run(self, program: Any, arguments: list[str]) -> None:
        code: int | str | None = 1
        try:
            program.main(arguments)
            code = 0
        except SystemExit as stop:
            code = stop.code
            if code == 1 and self._error is not None:
                # Its main tells the reason to nobody but its log.
                raise self._error from None
            raise
        finally:
            if self._results:
                ftresults.append(self._results, succeeded=not code and self._succeeded)

    def _keep_error(self, program: Any) -> None:
        """Remember what ends `program.run`, which main turns into exit code 1 without a word."""
        original = program.run

        @functools.wraps(original)
        def run(*args: Any, **kwargs: Any) -> Any:
            try:
                return original(*args, **kwargs)
            except Exception as error:
                self._error = error
                raise

        program.run = run

    def _watch(
        self, agent: type[Any], recorder: Recorder, pipe: ftmonitor.Pipe, guard: Guard
    ) -> None:
        """Look at ranks as soon as one has failed, and at what the monitors say before that.

        Under torchrun the look is taken when torch ends the others, which ft_launcher puts off
        until the failure has been told.
        """
        start, monitor = agent._start_workers, agent._monitor_workers

        @functools.wraps(start)
        def start_workers(agent: Any, *args: Any, **kwargs: Any) -> Any:
            pids = start(agent, *args, **kwargs)
            with guard("ft: watch"):
                context = agent._pcontext
                context.wait = functools.partial(wait, context.wait)
            return pids

        def wait(original: Any, *args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            with guard("ft: monitors say"):
                pipe.drain(guard.journal)
            if result is not None and result.is_failed():
                with guard("ft: look at ranks"):
                    recorder.look()
            return result

        @functools.wraps(monitor)
        def monitor_workers(agent: Any, *args: Any, **kwargs: Any) -> Any:
            result = monitor(agent, *args, **kwargs)
            with guard("ft: outcome"):
                self._succeeded = result.state.value == "SUCCEEDED"
            return result

        agent._start_workers = start_workers
        agent._monitor_workers = monitor_workers


def _private_folder() -> str:
    """A new folder of 0700 with a short path, below that of the slots where there is one."""
    for parent in (os.environ.get(layout.SLOTS_ENV) or None, None, "/tmp"):  # noqa: S108 - it is private
        try:
            folder = tempfile.mkdtemp(prefix="ft-", dir=parent)
        except OSError:
            continue
        if len(folder) <= _LONGEST:
            return folder
        os.rmdir(folder)
    raise OSError("there is no folder for the sockets of ft_launcher: all paths are too long")
