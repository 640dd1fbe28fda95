"""The contact with a job's nodes while its lines are followed: told when it changes, given up late.

Used by everything that follows a job (`run`, `attach`, `restart`, `logs -f`). Losing contact ends
nothing on any node.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import click

from cockpit.errors import ContactLost
from cockpit.model.types import Job, LinkState
from cockpit.text import after_name

CONTACT_TIMEOUT = 600.0
"""Seconds without contact to what still runs after which whoever follows a job leaves."""


def contact_option(command: Any) -> Any:
    """`--contact-timeout S`, as the argument `contact_timeout`."""
    return click.option(
        "--contact-timeout",
        type=click.FloatRange(min=1.0),
        default=CONTACT_TIMEOUT,
        show_default=True,
        metavar="S",
        help="Leave with 75 when what still runs could not be reached for so long.",
    )(command)


class ContactWatch:
    """Looks at one job again and again. `say` hears of links that were lost and found."""

    def __init__(
        self,
        say: Callable[[str], None],
        contact_timeout: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._say = say
        self._timeout = contact_timeout
        self._clock = clock
        self._links: dict[str, LinkState] = {}
        self._silent_since: float | None = None
        self._waited_for: set[str] = set()

    def check(self, job: Job) -> None:
        """Take in the links of the job's nodes as they are now.

        Raises ContactLost when none that still runs it was online for `contact_timeout` seconds.
        """
        for node in job.nodes:
            before = self._links.get(node.name)
            state = self._links[node.name] = node.link.state
            if before is not None and before is not state:
                self._tell(node.name, before, state, node.link.why)
        # Nodes that have said their last word are not waited for.
        awaited = [node for node in job.nodes if not node.state.ended]
        silent = [node for node in awaited if node.link.state is not LinkState.ONLINE]
        if not silent or len(silent) < len(awaited):
            self._silent_since = None
            return
        names = ", ".join(node.name for node in silent)
        if len(awaited) < len(job.nodes) and names not in self._waited_for:
            self._waited_for.add(names)
            self._say(f"the other nodes have ended; the end of the job waits for word of {names}")
        now = self._clock()
        if self._silent_since is None:
            self._silent_since = now
        elif now - self._silent_since > self._timeout:
            raise ContactLost(
                f"{names} of job {job.name} could not be reached for {self._timeout:.0f} s;"
                " the job may go on there",
                f"`cockpit attach {job.id}` comes back to it",
            )

    def _tell(self, name: str, before: LinkState, state: LinkState, why: str) -> None:
        if state is LinkState.ONLINE:
            self._say(f"{name}: connected again")
        elif before is LinkState.ONLINE:
            why = after_name(name, why)
            self._say(f"{name}: no contact ({why}); the job goes on, trying again")
