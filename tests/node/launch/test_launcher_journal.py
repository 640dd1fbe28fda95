"""The launcher process keeps room for its journal, so that a full disk does not silence it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cockpit.node.journal import RESERVE
from cockpit.node.launch import launcher
from cockpit.node.launch.flavour import Torchrun
from cockpit.protocol import layout


class Broken(Torchrun):
    def load(self) -> Any:
        raise ImportError("no torch here")


def test_its_journal_has_room_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(layout.ATTEMPT_DIR_ENV, str(tmp_path))
    with pytest.raises(SystemExit):
        launcher.main([], Broken())
    status = (tmp_path / layout.LAUNCHER_EVENTS).stat()
    assert status.st_size < RESERVE // 4
    assert status.st_blocks * 512 >= RESERVE
