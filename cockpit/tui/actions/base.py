"""What an action is, and what actions may ask and order. Nothing here knows widgets or Textual.

An Action says what it is called, which keys it has, where it applies, whether it changes anything
and why it cannot be done right now; `run` asks the Context, which the app is.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from cockpit.model.types import Job, Node

if TYPE_CHECKING:
    from cockpit.tui.actions.fleet import FleetDo, NodeDo
    from cockpit.tui.actions.house import HouseDo
    from cockpit.tui.actions.jobs import JobDo, JobsDo, OrdersDo
    from cockpit.tui.actions.launch import LaunchDo
    from cockpit.tui.actions.logs import LogDo
    from cockpit.tui.actions.profiles import KeeperDo, ProfilesDo
    from cockpit.tui.frame import Frame
    from cockpit.tui.source import Replaying

_Part = TypeVar("_Part")


class View(str, enum.Enum):
    FLEET = "fleet"
    JOBS = "jobs"
    JOB = "job"
    LOGS = "logs"
    PROFILES = "profiles"
    NODE = "node"
    EVENTS = "events"
    DEBUG = "debug"


NUMBERED = (View.FLEET, View.JOBS, View.JOB, View.LOGS, View.PROFILES)
"""Views that have a digit and a place in the top line."""


class Pane(Protocol):
    """What has the focus and moves: a table or a log."""

    def move(self, delta: int) -> None: ...
    def page(self, direction: int) -> None: ...
    def top(self) -> None: ...
    def bottom(self) -> None: ...


class Filterable(Protocol):
    """A view whose rows or lines can be filtered with `/`."""

    def open_filter(self) -> None: ...
    def set_filter(self, pattern: str) -> None: ...
    def clear_filter(self) -> bool:
        """Show everything; False when nothing was hidden."""


class Context(Protocol):
    """What actions may ask and order. All of it returns at once."""

    @property
    def view(self) -> View: ...
    @property
    def job(self) -> Job | None:
        """The job that an action would be about."""

    @property
    def shown_job(self) -> Job | None:
        """The job that Job and Logs show, or would show."""

    @property
    def node(self) -> Node | None:
        """The node that an action would be about."""

    @property
    def marked_jobs(self) -> Sequence[Job]: ...
    @property
    def marked_nodes(self) -> Sequence[Node]: ...
    @property
    def frame(self) -> Frame:
        """What was last drawn."""

    @property
    def pane(self) -> Pane | None: ...
    @property
    def filterable(self) -> Filterable | None: ...
    @property
    def fleet(self) -> FleetDo | None:
        """The Fleet view, while it is on the screen; so are the others."""

    @property
    def node_view(self) -> NodeDo | None: ...
    @property
    def jobs(self) -> JobsDo | None: ...
    @property
    def job_view(self) -> JobDo | None: ...
    @property
    def log_pane(self) -> LogDo | None:
        """The log on the screen, in Logs and in Job."""

    @property
    def profiles(self) -> ProfilesDo | None: ...
    @property
    def keeper(self) -> KeeperDo: ...
    @property
    def orders(self) -> OrdersDo: ...
    @property
    def launching(self) -> LaunchDo: ...
    @property
    def replay(self) -> Replaying | None:
        """What is being replayed, if anything is."""

    @property
    def house(self) -> HouseDo: ...
    def missing(self, part: str) -> str:
        """Why the source has no "orders", "launchpad", "profiles" or "shells"; "" when it does."""

    def busy_with(self, job: Job) -> str:
        """ "" or what is being done to the job right now."""

    def show(self, view: View) -> None: ...
    def show_job(self, job_id: str, view: View = ...) -> None:
        """Make this the shown job and go to a view of it."""

    def show_node(self, key: str) -> None:
        """Go to the Node view of the node with this `node_key`."""

    def back(self) -> None: ...
    def forward(self) -> None: ...
    def last_view(self) -> None: ...
    def next_pane(self, step: int = 1) -> None: ...
    def open_selection(self) -> None: ...
    def mark(self) -> None:
        """Mark what the cursor is on, or take its mark away, and go on to the next row."""

    def mark_range(self) -> None:
        """Mark everything between the last mark and the cursor."""

    def clear_marks(self) -> None: ...
    def open_command_line(self, text: str = "") -> None: ...
    def show_help(self) -> None: ...
    def show_palette(self) -> None: ...
    def reopen_log(self) -> None:
        """Read the log anew: its document has become another one."""

    def say(self, text: str, *, severity: str = "information") -> None:
        """A message that goes away by itself."""

    def freeze(self) -> None:
        """Hold what is shown, or let it go on."""

    def leave(self) -> None: ...


def _always(_: Context) -> str | None:
    return None


def _nothing(_: Context) -> Sequence[str]:
    return ()


@dataclasses.dataclass(frozen=True)
class Words:
    """How an action is given on the command line, `:word argument`.

    `names`: its words, the first is shown; unique among all actions. `argument`: what comes
    behind it, in the way of a usage text, "" for nothing. `run` gets the argument, stripped, "" if
    none was typed; it raises UsageError for one that makes no sense. `offers`: what could stand
    there.
    """

    names: tuple[str, ...]
    argument: str = ""
    run: Callable[[Context, str], None] | None = None
    offers: Callable[[Context], Sequence[str]] = _nothing


@dataclasses.dataclass(frozen=True)
class Action:
    """`id`: never changes, `[keys]` names it; `title`: a few words. `keys`: in Textual's names,
    the first is shown. `views`: where it applies, empty is everywhere. `footer`: its word in the
    footer, "" keeps it out. `writes`: it changes something on nodes or in files, so read-only mode
    forbids it; `about_cluster`: so does a cluster at the cursor that is read-only. `dangerous`: it
    also asks first, and is marked in the help. `enabled`: None, or why
    it cannot be done now. `words`: on the command line; without them the id stands there.
    """

    id: str
    title: str
    keys: tuple[str, ...]
    run: Callable[[Context], None]
    views: frozenset[View] = frozenset()
    footer: str = ""
    writes: bool = False
    about_cluster: bool = True
    dangerous: bool = False
    enabled: Callable[[Context], str | None] = _always
    words: Words | None = None

    @property
    def key_text(self) -> str:
        """All keys, for people."""
        return " ".join(key_name(key) for key in self.keys)

    def applies(self, view: View) -> bool:
        return not self.views or view in self.views


_NAMES = {
    "question_mark": "?",
    "at": "@",
    "slash": "/",
    "exclamation_mark": "!",
    "colon": ":",
    "minus": "-",
    "comma": ",",
    "full_stop": ".",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "left_curly_bracket": "{",
    "right_curly_bracket": "}",
    "less_than_sign": "<",
    "greater_than_sign": ">",
    "equals_sign": "=",
    "tilde": "~",
    "apostrophe": "'",
    "quotation_mark": '"',
    "circumflex_accent": "^",
    "backslash": "\\",
    "escape": "esc",
    "pagedown": "pgdn",
    "pageup": "pgup",
    "left": "←",
    "right": "→",
    "up": "↑",
    "down": "↓",
}


def key_name(key: str) -> str:
    """Textual's name of a key as it is printed on the screen."""
    if key.startswith("ctrl+"):
        return "^" + key_name(key.removeprefix("ctrl+"))
    return _NAMES.get(key, key)


def on(
    part: Callable[[Context], _Part | None],
) -> Callable[[Callable[[_Part], None]], Callable[[Context], None]]:
    """Makes actions of a part of the screen out of what they ask of it. They do nothing where the
    part is not shown."""

    def action(do: Callable[[_Part], None]) -> Callable[[Context], None]:
        def run(context: Context) -> None:
            found = part(context)
            if found is not None:
                do(found)

        return run

    return action


def with_job(context: Context) -> str | None:
    return None if context.job is not None else "no job is selected"


def with_node(context: Context) -> str | None:
    return None if context.node is not None else "no node is selected"


def with_pane(context: Context) -> str | None:
    return None if context.pane is not None else "nothing here moves"
