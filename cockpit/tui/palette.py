"""The command palette (ctrl+p), filled from the registry of actions."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content

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
                cockpit.reason_against(action) or action.key_text,
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
