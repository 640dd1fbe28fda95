"""What the command line asks the app: offers, meaning, carrying out, history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cockpit.errors import UsageError
from cockpit.tui import commands

if TYPE_CHECKING:
    from cockpit.tui.app import CockpitApp


class AppInterpreter:
    """Satisfies `widgets.commandline.Interpreter`."""

    def __init__(self, app: CockpitApp) -> None:
        self._app = app

    def offers(self, text: str) -> Sequence[str]:
        return commands.offers(text, self._app.actions, self._app)

    def usage(self, text: str) -> str:
        return commands.usage(text, self._app.actions)

    def execute(self, text: str) -> None:
        command = commands.parse(text, self._app.actions)
        self._app.memory.add_command(text.strip().removeprefix(":").strip())
        reason = self._app.reason_against(command.action, command.argument)
        if reason is not None:
            raise UsageError(f"{command.action.title}: {reason}")
        commands.run(command, self._app)

    def history(self) -> Sequence[str]:
        return self._app.memory.commands
