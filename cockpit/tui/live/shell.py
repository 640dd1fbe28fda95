"""Shells of the controller's nodes on this process's terminal."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from cockpit.controller import Controller
from cockpit.errors import LinkError, UsageError
from cockpit.transport.shell import ShellRequest
from cockpit.tui.house.rawterminal import LEFT, RawTerminal

OPENING = 15.0
"""Seconds that a node may take to open a shell."""


class LiveShells:
    """Satisfies `cockpit.tui.house.shelling.Shells`."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    def directory(self, job_id: str, node: str) -> str:
        return self._controller.directory(job_id, node)

    async def shell(self, cluster: str, node: str, directory: str = "") -> int:
        stdin = sys.__stdin__
        if stdin is None or not stdin.isatty():
            raise UsageError("a shell needs a terminal")
        with RawTerminal(stdin.fileno()) as terminal:
            where = f" in {directory}" if directory else ""
            told = f"cockpit: shell on {node}{where}; enter ~. leaves it at once\r\n"
            terminal.show(told.encode())
            columns, rows = terminal.size
            term = os.environ.get("TERM") or "xterm"
            request = ShellRequest(term, columns, rows, directory, terminal.show)
            opening = asyncio.ensure_future(self._controller.shell(cluster, node, request))
            both: set[asyncio.Future[Any]] = {opening, terminal.left}
            try:
                await asyncio.wait(both, timeout=OPENING, return_when=asyncio.FIRST_COMPLETED)
                if terminal.left.done():
                    return LEFT
                if not opening.done():
                    raise LinkError(f"{node} did not open a shell within {OPENING:g} s")
                shell = opening.result()
            finally:
                opening.cancel()
            try:
                return await terminal.serve(shell)
            finally:
                await shell.close()
