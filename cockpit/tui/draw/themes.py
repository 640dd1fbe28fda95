"""Themes as data: every `*.toml` that ships with cockpit and every one of the user's folder.

A file that is wrong is left out and named in `ThemeLoadResult.failed`; it never stops the start.
A theme without one of the cockpit's own tokens gets it derived from its main colours, so
Textual's built-in themes work, too. The app asks `choose` before Textual starts.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from textual.color import Color, ColorParseError
from textual.theme import BUILTIN_THEMES, Theme

from cockpit.errors import UsageError
from cockpit.tui.draw.spans import HEAT_STEPS, RANK_COLOURS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEFAULT = "cockpit-dark"
ANSI = "cockpit-ansi"

_COLOURS = (
    "primary",
    "secondary",
    "accent",
    "foreground",
    "background",
    "surface",
    "panel",
    "boost",
    "success",
    "warning",
    "error",
)
_FLAGS = ("dark", "ansi")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_STYLE_WORDS = {"none", "bold", "dim", "italic", "underline", "reverse", "strike"}


@dataclasses.dataclass(frozen=True)
class ThemeFailure:
    """Why the theme of a file is not there."""

    file: str
    message: str


@dataclasses.dataclass(frozen=True)
class ThemeLoadResult:
    """`complete`: there are no more."""

    loaded: Mapping[str, Theme]
    failed: tuple[ThemeFailure, ...]
    complete: bool = True


class _ThemeError(Exception):
    """What is wrong with a theme file."""


def shipped_folder() -> Path:
    """Where cockpit's own themes are: in the installed package, else beside it in a checkout."""
    package = Path(__file__).parent.parent.parent
    installed = package / "themes"
    return installed if installed.is_dir() else package.parent / "themes"


def load(folders: Iterable[Path]) -> ThemeLoadResult:
    """Read the themes of all folders; of two with the same name the later one counts."""
    loaded: dict[str, Theme] = {}
    failed: list[ThemeFailure] = []
    for folder in folders:
        if not folder.is_dir():
            continue
        for file in sorted(folder.glob("*.toml")):
            try:
                theme = _read(file)
            except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, _ThemeError) as error:
                failed.append(ThemeFailure(str(file), str(error)))
            else:
                loaded[theme.name] = theme
    return ThemeLoadResult(loaded, tuple(failed))


def load_first(
    folders: Sequence[Path], wanted: str | None, environ: Mapping[str, str]
) -> ThemeLoadResult:
    """Only the theme to start with, where that is one of cockpit's own and a person has none.

    Else those of all folders. The rest can be read when the screen is there.
    """
    shipped, *others = folders
    name = _usual(environ) if wanted is None or colourless(environ) else wanted
    if _NAME.fullmatch(name) and not any(any(folder.glob("*.toml")) for folder in others):
        found = _one(shipped / f"{name}.toml")
        if found is not None and found.name == name:
            return ThemeLoadResult({name: found}, (), complete=False)
    return load(folders)


def _one(file: Path) -> Theme | None:
    """The theme of a file, None where there is none or something is wrong with it."""
    try:
        return _read(file)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, _ThemeError):
        return None


def _usual(environ: Mapping[str, str]) -> str:
    """What is chosen where nobody wants another one."""
    return ANSI if colourless(environ) or few_colours(environ) else DEFAULT


def _read(file: Path) -> Theme:
    if not file.is_file():
        raise _ThemeError("is no file")  # a pipe would be waited for without end
    document = tomllib.loads(file.read_text("utf-8"))
    name = document.pop("name", file.stem)
    variables = document.pop("variables", {})
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise _ThemeError("name: must be a word of letters, digits, - and _")
    if not isinstance(variables, dict):
        raise _ThemeError("variables: must be a table")
    known = (*_COLOURS, *_FLAGS)
    for key, value in document.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            raise _ThemeError(
                f"{key}: unknown key" + (f", did you mean {near[0]}?" if near else "")
            )
        if key in _FLAGS:
            if not isinstance(value, bool):
                raise _ThemeError(f"{key}: must be true or false")
        else:
            _check_colour(key, value)
    if "primary" not in document:
        raise _ThemeError("primary: missing")
    theme = Theme(name=name, **document)
    tokens = {*defaults(theme), *theme.to_color_system().generate()}
    tokens.update(*(built_in.variables for built_in in BUILTIN_THEMES.values()))
    for key, value in variables.items():
        if key not in tokens:
            near = difflib.get_close_matches(key, tokens, 1)
            hint = f", did you mean {near[0]}?" if near else ""
            raise _ThemeError(f"variables.{key}: unknown token{hint}")
        if key.endswith("-style"):
            if not isinstance(value, str) or not set(value.split()) <= _STYLE_WORDS:
                words = ", ".join(sorted(_STYLE_WORDS))
                raise _ThemeError(f"variables.{key}: must be made of {words}")
        else:
            _check_colour(f"variables.{key}", value)
    return dataclasses.replace(theme, variables=dict(variables))


def _check_colour(key: str, value: object) -> None:
    if not isinstance(value, str):
        raise _ThemeError(f"{key}: must be a colour")
    try:
        Color.parse(value)
    except ColorParseError:
        raise _ThemeError(f"{key}: {value!r} is no colour") from None


_DARK_HEAT = "#3b6ea5 #3f88b0 #3fa2a8 #4cb48a #7cbf62 #b4bf4a #dcb13c #ee9336"
_DARK_RANKS = "#6cb6ff #8ddb8c #f69d50 #dcbdfb #ff938a #76e3ea #e2c55a #adbac7"
_LIGHT_HEAT = "#1f4f82 #1f6590 #1a7a80 #1f8560 #4d8a2c #7a7a12 #a36a00 #b85000"
_LIGHT_RANKS = "#0550ae #116329 #953800 #6639ba #a40e26 #176b71 #7d4e00 #424a53"


def defaults(theme: Theme) -> dict[str, str]:
    """The cockpit's own tokens for a theme that does not set them."""
    ok = theme.success or "#4ebf71"
    warn = theme.warning or "#ffa62b"
    bad = theme.error or "#ba3c5b"
    accent = theme.accent or theme.primary
    if theme.ansi:
        dim, bar, cursor = "ansi_default", "ansi_default", "ansi_default"
        heat = ["ansi_blue"] * 2 + ["ansi_cyan"] * 2 + ["ansi_green"] * 2 + ["ansi_yellow"] * 2
        ranks = ["cyan", "green", "yellow", "blue", "magenta", "bright_cyan", "bright_green"]
        rank_colours = [f"ansi_{name}" for name in (*ranks, "bright_blue")]
    else:
        dim = "#8a93a0" if theme.dark else "#5c6470"
        bar = theme.panel or ("#20262e" if theme.dark else "#d7dce3")
        cursor = theme.surface or ("#2c3440" if theme.dark else "#c9d3e0")
        heat = (_DARK_HEAT if theme.dark else _LIGHT_HEAT).split()
        rank_colours = (_DARK_RANKS if theme.dark else _LIGHT_RANKS).split()
    tokens = {
        "state-ok": ok,
        "state-busy": accent,
        "state-warn": warn,
        "state-bad": bad,
        "state-stale": dim,
        "state-stale-style": "dim" if theme.ansi else "italic",
        "tone-dim": dim,
        "tone-dim-style": "dim" if theme.ansi else "none",
        "tone-title": theme.primary,
        "tone-accent": accent,
        "tone-key": accent,
        "bar": bar,
        "bar-line": dim,
        "row-cursor": cursor,
        "row-cursor-style": "reverse" if theme.ansi else "bold",
    }
    tokens.update({f"heat-{step}": heat[step] for step in range(HEAT_STEPS)})
    tokens.update({f"rank-{number}": rank_colours[number] for number in range(RANK_COLOURS)})
    return tokens


def colourless(environ: Mapping[str, str]) -> bool:
    """NO_COLOR is set and not empty (no-color.org)."""
    return bool(environ.get("NO_COLOR"))


def few_colours(environ: Mapping[str, str]) -> bool:
    """The terminal says that it has 16 colours or fewer."""
    if environ.get("COLORTERM", "").lower() in ("truecolor", "24bit"):
        return False
    term = environ.get("TERM", "")
    return term in ("", "dumb", "linux", "ansi", "xterm", "screen", "tmux", "rxvt") or (
        term.endswith("-16color") or term.startswith("vt")
    )


def known(name: str | None, loaded: Mapping[str, Theme]) -> bool:
    """There is a theme of this name; None, for whatever suits, is one."""
    return name is None or name in loaded or name in BUILTIN_THEMES


def choose(wanted: str | None, loaded: Mapping[str, Theme], environ: Mapping[str, str]) -> str:
    """The theme to start with. Raises UsageError when there is none of the name `wanted`."""
    available = {**BUILTIN_THEMES, **loaded}
    if wanted is not None and wanted not in available:
        near = difflib.get_close_matches(wanted, available, 3) or sorted(loaded)
        raise UsageError(f"there is no theme {wanted!r}", f"try {', '.join(near)}")
    fallback = ANSI if ANSI in loaded else "ansi-dark"
    if colourless(environ):
        return fallback
    if wanted is not None:
        return wanted
    if few_colours(environ):
        return fallback
    return DEFAULT if DEFAULT in loaded else "textual-dark"
