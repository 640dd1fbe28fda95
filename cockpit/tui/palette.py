"""The command palette (ctrl+p), filled from the registry of actions and with the themes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content
from textual.markup import escape

from cockpit.errors import UsageError
from cockpit.text import clean
from cockpit.tui.actions import Action

if TYPE_CHECKING:
    from cockpit.tui.app import CockpitApp


class ActionProvider(Provider):
    """Offers the actions of the view that is shown; those that cannot be done say why."""

    @property
    def _cockpit(self) -> CockpitApp:
        return cast("CockpitApp", self.app)

    def _offers(self) -> list[tuple[Action, str]]:
        cockpit = self._cockpit
        return [
            (
                action,
                # Textual reads it as markup, and it may name a job.
                escape(clean(cockpit.reason_against(action) or action.key_text)),
            )
            for action in cockpit.actions
            if action.applies(cockpit.view) and action.id != "app.palette"
        ]

    async def discover(self) -> Hits:
        for action, remark in self._offers():
            yield DiscoveryHit(
                Content(action.title),
                partial(self._cockpit.perform, action.id),
                text=action.title,
                help=remark,
            )

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for action, remark in self._offers():
            score = matcher.match(action.title)
            if score > 0:
                yield Hit(
                    score,
                    matcher.highlight(action.title),
                    partial(self._cockpit.perform, action.id),
                    text=action.title,
                    help=remark,
                )


class ThemeProvider(Provider):
    """Offers every theme by its name, as `:theme NAME` takes it."""

    @property
    def _themes(self) -> list[tuple[str, str]]:
        """What is shown, and the command."""
        names = cast("CockpitApp", self.app).house.theme_names()
        return [(f"Theme: {name}", f"theme {name}") for name in map(clean, names)]

    def _take(self, command: str) -> None:
        # With all that it imports it is for those who have chosen something.
        from cockpit.tui.interpreter import AppInterpreter

        cockpit = cast("CockpitApp", self.app)
        try:
            AppInterpreter(cockpit).execute(command)
        except UsageError as error:
            cockpit.say(error.message, severity="warning")

    async def discover(self) -> Hits:
        for shown, command in self._themes:
            yield DiscoveryHit(
                Content(shown), partial(self._take, command), text=shown, help=escape(f":{command}")
            )

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for shown, command in self._themes:
            score = matcher.match(shown)
            if score > 0:
                yield Hit(
                    score,
                    matcher.highlight(shown),
                    partial(self._take, command),
                    text=shown,
                    help=escape(f":{command}"),
                )
