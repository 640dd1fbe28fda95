"""What a shell on a node needs of the world. `cockpit.tui.live` gives it; nothing here draws."""

from __future__ import annotations

from typing import Protocol


class Shells(Protocol):
    async def shell(self, cluster: str, node: str, directory: str = "") -> int:
        """Run a login shell on the node, over the connection that is open already, on this
        process's own terminal (raw until it ends); its exit code. `directory`: where to start.

        The caller has suspended the screen. Raises CockpitError.
        """

    def directory(self, job_id: str, node: str) -> str:
        """Where a job runs on one of its nodes; "" where that is not known."""
