"""How the attempt is being ended before its launcher process ends by itself, if it is.

Part of the supervisor's keeper: either somebody cancelled it, or a stall did what the profile
says. Knows when patience is over, and that a launcher process gets one SIGTERM in its life:
torchrun dies in its handler on a third one and orphans its ranks.
"""

from __future__ import annotations

from collections.abc import Callable

from cockpit.node.supervise.folding import Past
from cockpit.node.supervise.stallresponse import Verdict
from cockpit.node.supervise.watching import Launcher

STOP_PATIENCE = 5.0
"""Seconds that the launcher processes get to end the ranks of all nodes by themselves, after the
supervisors have asked them to; then comes the SIGTERM."""


class Ending:
    """`past`: what earlier supervisors did. All times are monotonic seconds."""

    def __init__(self, past: Past, complain: Callable[[str], None]) -> None:
        self._complain = complain
        self._deadline = past.deadline
        self._terminate_at: float | None = None
        self.cancelled = past.cancelled
        """Whether a cancel came while the launcher process ran."""
        self.failure = ""
        """Why cockpit itself ends the attempt as failed; "" if it does not."""

    @property
    def begun(self) -> bool:
        return self._deadline is not None

    def cancel(self, now: float, grace: float, launcher: Launcher | None) -> None:
        """`launcher`: None when it had ended already."""
        first = not self.begun
        self._set_deadline(now + grace)
        if launcher is None:
            return  # what is left is cleared away in any case
        self.cancelled = not self.failure
        if first:
            self._terminate(launcher)

    def fail(self, verdict: Verdict, grace: float, now: float) -> None:
        """End it as failed; `grace` in seconds after SIGTERM. A cancel that came first counts."""
        if self.begun:
            return
        self.failure = verdict.message
        terminate_at = verdict.at + STOP_PATIENCE
        # Later than that, an earlier supervisor has sent it.
        self._terminate_at = terminate_at if terminate_at > now else None
        self._set_deadline(terminate_at + grace)

    def is_due(self, now: float, launcher: Launcher | None) -> bool:
        """Do what is due. True once no more patience is to be had with the processes."""
        if self._terminate_at is not None and now >= self._terminate_at:
            self._terminate_at = None
            if launcher is not None:
                self._terminate(launcher)
        return self._deadline is not None and now >= self._deadline

    def _set_deadline(self, deadline: float) -> None:
        self._deadline = deadline if self._deadline is None else min(self._deadline, deadline)

    def _terminate(self, launcher: Launcher) -> None:
        try:
            launcher.terminate()
        except PermissionError:
            self._complain("the launcher process may not be signalled by this user")
