"""The folder of the slots is removed with whatever was left in it, and with nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cockpit.node.supervise import slots
from cockpit.node.supervise.claims import Place


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = Place(str(tmp_path), f"{os.getpid():012x}", 0, 0)
    Path(place.path).mkdir(parents=True)
    return Path(slots.make(place))


def test_folders_that_a_killed_launcher_left_go_too_and_links_are_not_followed(
    folder: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").touch()
    for name in ("a-first", "ft-x/deep", "z-last"):
        (folder / name).mkdir(parents=True)
        (folder / name / "socket").touch()
    (folder / "0.0").touch()
    (folder / "link").symlink_to(elsewhere)
    (folder / "ft-x" / "link").symlink_to(elsewhere)
    slots.remove(str(folder))
    assert not folder.exists()
    assert (elsewhere / "precious").exists()


def test_what_cannot_be_removed_keeps_nothing_else(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"0.{number}" for number in range(5)]
    for name in names:
        (folder / name).touch()
    unlink = os.unlink

    def stubborn(path: str) -> None:
        if path.endswith("0.2"):
            raise PermissionError(1, "not permitted", path)
        unlink(path)

    monkeypatch.setattr(slots.os, "unlink", stubborn)
    slots.remove(str(folder))
    assert os.listdir(folder) == ["0.2"]
    monkeypatch.undo()
    slots.remove(str(folder))
    assert not folder.exists()
