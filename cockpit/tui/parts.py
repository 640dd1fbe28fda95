"""Which class draws which view. A module is imported when its view is first shown."""

from __future__ import annotations

import importlib

from cockpit.tui.actions import View
from cockpit.tui.view import CockpitView

_VIEWS = {
    View.FLEET: ("cockpit.tui.fleet.view", "FleetView"),
    View.JOBS: ("cockpit.tui.jobs.jobs", "JobsView"),
    View.JOB: ("cockpit.tui.jobs.job", "JobView"),
    View.LOGS: ("cockpit.tui.logs.screen", "LogsView"),
    View.PROFILES: ("cockpit.tui.profile.view", "ProfilesView"),
    View.NODE: ("cockpit.tui.fleet.node", "NodeView"),
    View.EVENTS: ("cockpit.tui.house.events", "EventsView"),
    View.DEBUG: ("cockpit.tui.house.debug", "DebugView"),
}


def make(view: View) -> CockpitView:
    """A new widget for `view`, not mounted yet."""
    module, name = _VIEWS[view]
    made = getattr(importlib.import_module(module), name)(id=view.value)
    assert isinstance(made, CockpitView)
    return made


def import_all() -> None:
    """Have the modules of all views, so that none is waited for when it is first shown."""
    for module, _ in _VIEWS.values():
        importlib.import_module(module)
