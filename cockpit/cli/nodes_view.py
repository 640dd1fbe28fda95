"""What `cockpit nodes` prints, once or again and again: the table, or JSON documents."""

from __future__ import annotations

import json
import shutil
import sys
import time

import click

from cockpit.cli.common import print_json
from cockpit.cli.jobs import ASK_TIMEOUT, SAMPLE_TIMEOUT
from cockpit.cli.nodes_table import counted, fitted_lines, nodes_lines
from cockpit.cli.printer import use_utf8
from cockpit.cli.spans import Line, Span
from cockpit.cli.watch import draws_plainly, full_screen, repeat, text_of
from cockpit.controller import Controller
from cockpit.model import documents
from cockpit.model.types import LinkState


class NodesView:
    """The nodes that `controller` has opened."""

    def __init__(self, controller: Controller, *, as_json: bool) -> None:
        self._controller = controller
        self._json = as_json
        self._plain = draws_plainly()
        use_utf8()

    def show(self) -> None:
        """Print what is known now."""
        if self._json:
            print_json(self._document())
        else:
            click.echo(text_of(self._lines()), color=True)

    async def watch(self, period: float) -> None:
        """Print it every `period` seconds until a signal: in place on a terminal."""
        if self._json or not sys.stdout.isatty():
            # A reader gets whole tables: the first waits for the nodes.
            await self._controller.settle(ASK_TIMEOUT)
            await self._controller.sampled(SAMPLE_TIMEOUT)
            await repeat(self._print, period)
            return
        with full_screen() as draw:
            await repeat(
                lambda: draw([self._title(period), *self._fitted()]), period, self._is_settled
            )

    def _print(self) -> None:
        if self._json:
            click.echo(json.dumps(self._document(), ensure_ascii=False))
        else:
            click.echo(time.strftime("%H:%M:%S"))
            click.echo(text_of(self._lines()) + "\n")
        sys.stdout.flush()

    def _lines(self) -> list[Line]:
        fleet = self._controller.snapshot()
        return nodes_lines(fleet.nodes, fleet.jobs, time.monotonic(), plain=self._plain)

    def _fitted(self) -> list[Line]:
        """The table for the terminal as it is now, below the title."""
        fleet, rows = self._controller.snapshot(), shutil.get_terminal_size().lines - 1
        return fitted_lines(fleet.nodes, fleet.jobs, time.monotonic(), rows, plain=self._plain)

    def _document(self) -> documents.Document:
        return documents.nodes_document(self._controller.snapshot().nodes, time.monotonic())

    def _title(self, period: float) -> Line:
        return (
            Span(f"{time.strftime('%H:%M:%S')}  "),
            *counted(self._controller.snapshot().nodes, time.monotonic()),
            Span(f"  every {period:g} s, q leaves", "dim"),
        )

    def _is_settled(self) -> bool:
        """Every node has told of itself, or is out of reach."""
        waiting = (LinkState.CONNECTING, LinkState.ONLINE)
        nodes = self._controller.snapshot().nodes
        return all(n.sampled_at is not None or n.link.state not in waiting for n in nodes)
