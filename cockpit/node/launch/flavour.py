# ruff: noqa: SLF001 - torch has no public way to any of this
"""What the instrumented launcher process has to know of the program that it runs.

`Torchrun` is torch's own launcher; a program that was made from it, with an agent class of its
own, is told apart by overriding what differs. `launcher` calls the methods once each, in the
order in which they stand here. Nothing is imported of torch before `load`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cockpit.node.launch import exit_barrier, torchargs, torchlogs
from cockpit.node.launch.hooks import Guard
from cockpit.node.launch.recorder import Recorder


class Torchrun:
    """`python -m torch.distributed.run`."""

    name = "torch"
    """What the job's Python cannot import when `load` fails, for people."""

    def load(self) -> Any:
        """The module whose `main(arguments)` is the program. Raises what a broken import raises."""
        import torch.distributed.run as run

        return run

    def versions(self) -> dict[str, str]:
        """What the `launcher` event says of the program."""
        import torch

        return {"torch": str(torch.__version__)}

    def passing(self) -> tuple[type[BaseException], ...]:
        """What the program raises in its main thread when a signal comes; hooks let it through."""
        from torch.distributed.elastic.multiprocessing import api

        found = getattr(api, "SignalException", None)
        return (found,) if found is not None else ()

    def fit(self, program: Any, arguments: list[str], guard: Guard) -> torchargs.Fitted:
        """`arguments` as this version of the program takes them."""
        known = frozenset(torchargs.NEWER_OPTIONS)
        with guard("options"):
            known = frozenset(program.get_args_parser()._option_string_actions)
        return torchargs.fit(arguments, known)

    def agent(self, program: Any) -> type[Any]:  # noqa: ARG002 - where others have theirs
        """The class of its agent, which the hooks wrap."""
        from torch.distributed.launcher.api import LocalElasticAgent

        return LocalElasticAgent  # type: ignore[no-any-return]

    def install(
        self,
        program: Any,
        agent: type[Any],
        arguments: list[str],
        recorder: Recorder,
        guard: Guard,
    ) -> None:
        """Everything beyond the hooks; each step guards itself."""
        with guard("exit barrier is installed"):
            install_exit_barrier(agent, arguments, guard)
        torchlogs.install(program, recorder, guard)

    def run(self, program: Any, arguments: list[str]) -> None:
        """The program itself; raises what it raises, SystemExit too."""
        main: Callable[[list[str]], None] = program.main
        main(arguments)


def install_exit_barrier(agent: type[Any], arguments: list[str], guard: Guard) -> None:
    """Wait for the other nodes as long as they live; torch's own barrier stays where that fails.

    A static rendezvous does not know who lives: there, torch's own is all there can be.
    """
    if torchargs.option_value(arguments, "--rdzv-backend") == "static":
        return
    from torch.distributed.elastic.agent.server import api
    from torch.distributed.elastic.rendezvous import RendezvousError
    from torch.distributed.elastic.utils import store

    exit_barrier.install(
        agent,
        store,
        api._TERMINAL_STATE_SYNC_ID,
        guard,
        hosts_store=torchargs.hosts_store(arguments),
        lost=(RuntimeError, RendezvousError),
    )
