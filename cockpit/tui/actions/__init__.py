"""The one registry of everything a person can do on the screen.

Keys, footer, help, palette, the command line, read-only mode and the key table of the docs all
come from `ACTIONS`. Each module beside holds the actions of one part and says, as a protocol, what
it needs of it.
"""

from cockpit.tui.actions import (
    fleet,
    house,
    jobs,
    launch,
    lists,
    logs,
    profiles,
    replay,
    views,
)
from cockpit.tui.actions.base import NUMBERED, Action, Context, Filterable, Pane, View, key_name

ACTIONS: tuple[Action, ...] = (
    *views.ACTIONS,
    *lists.ACTIONS,
    *fleet.ACTIONS,
    *jobs.ACTIONS,
    *logs.ACTIONS,
    *launch.ACTIONS,
    *profiles.ACTIONS,
    *replay.ACTIONS,
    *house.ACTIONS,
)

BY_ID = {action.id: action for action in ACTIONS}

__all__ = [
    "ACTIONS",
    "BY_ID",
    "NUMBERED",
    "Action",
    "Context",
    "Filterable",
    "Pane",
    "View",
    "key_name",
]
