"""Log lines and events of a job on stdout: prefixed text for people, JSON lines for programs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from typing import Any

import click

from cockpit.model.documents import event_document, log_document
from cockpit.model.merged import LogLine
from cockpit.model.types import Job

_COLOURS = (
    "cyan",
    "green",
    "yellow",
    "magenta",
    "blue",
    "bright_cyan",
    "bright_green",
    "bright_red",
)


class Printer:
    """Writes cleaned text only. One write per batch, so that a flood costs little."""

    def __init__(self, *, as_json: bool, colour: bool | None = None) -> None:
        self._json = as_json
        self._out = sys.stdout
        self._colour = sys.stdout.isatty() if colour is None else colour
        self._width = 0

    def lines(self, lines: Iterable[LogLine]) -> None:
        """Print log lines."""
        if self._json:
            texts = [json.dumps(log_document(line), ensure_ascii=False) for line in lines]
        else:
            texts = [self._text(line) for line in lines]
        if texts:
            self._out.write("\n".join(texts) + "\n")
            self._out.flush()

    def job(self, job: Job) -> None:
        """Print that the job changed its state."""
        self.event("job", job)

    def event(self, kind: str, job: Job, **fields: Any) -> None:
        """Print something that happened to the job; people read narration on stderr instead."""
        if self._json:
            document = event_document(kind, job, at=time.time(), **fields)
            self._out.write(json.dumps(document, ensure_ascii=False) + "\n")
            self._out.flush()

    def _text(self, line: LogLine) -> str:
        who = f"r{line.rank}" if line.rank is not None else "launcher"
        prefix = f"{line.node} {who}"
        self._width = max(self._width, len(prefix))
        # stderr differs by shape, not by colour alone.
        bar = "│" if line.stream == "out" else "┊"
        prefix = f"{prefix:<{self._width}} {bar}"
        if self._colour:
            number = line.rank if line.rank is not None else line.node_rank
            prefix = click.style(prefix, fg=_COLOURS[number % len(_COLOURS)])
        return f"{prefix} {line.text}"


def use_utf8() -> None:
    """Print what cannot be encoded as an escape instead of failing in a C locale."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
