"""What the tests of this room share."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tests.harness.sshd import make_sshd

__all__ = ["make_sshd", "transport_log"]


class _Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(logging.Formatter().format(record))


@pytest.fixture(autouse=True)
def transport_log(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What this room logged; kept in memory, since writing to a file would block the loop."""
    logger = logging.getLogger("cockpit.transport")
    collector = _Collector()
    monkeypatch.setattr(logger, "propagate", False)
    logger.addHandler(collector)
    yield collector.messages
    logger.removeHandler(collector)
