"""What one session of the screen was asked to be, by profiles, options and the terminal."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from cockpit.profiles.types import Notify
from cockpit.tui.draw.themes import ThemeLoadResult

_NO_THEMES = ThemeLoadResult({}, ())
_SILENT = Notify(on=())


@dataclasses.dataclass(frozen=True)
class Settings:
    """`theme`: its name, None for the one that suits. `loaded`: the themes that were found, in
    `theme_folders`, which are looked at again while the screen is open. `keys`: action id -> its
    keys, where they are not the usual ones. `state_file`: where view, sort, filter and theme are
    remembered, None for nowhere. `clusters`: those that are shown at first, empty for all.
    """

    theme: str | None = None
    loaded: ThemeLoadResult = _NO_THEMES
    theme_folders: Sequence[Path] = ()
    keys: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    read_only: bool = False
    ascii: bool = False
    notify: Notify = _SILENT
    state_file: Path | None = None
    clusters: tuple[str, ...] = ()
