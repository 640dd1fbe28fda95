"""Colours and emphasis in log lines: SGR escapes become tones, every other escape becomes nothing.

A tone of this module is "sgr " and a style in Rich's words; `is_sgr` knows it again and `style_of`
gives the style. What comes out of `runs` went through `clean`: it holds no control character.
Blinking and concealed text are shown as plain text, so that no line can hide anything.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import NamedTuple

from rich.style import Style

from cockpit.text import clean
from cockpit.tui.draw.spans import Span

_PREFIX = "sgr "
_SGR = re.compile(r"(?:\x1b\[|\x9b)([0-9;:]{0,64})m")
_TAB = 8
_FLAGS = {1: "bold", 2: "dim", 3: "italic", 4: "underline", 7: "reverse", 9: "strike"}
_ENDS = {21: ("bold",), 22: ("bold", "dim"), 23: ("italic",), 24: ("underline",), 27: ("reverse",)}
_ENDS[29] = ("strike",)


class _State(NamedTuple):
    """What is switched on; colours as Rich writes them, "" for the terminal's own."""

    flags: tuple[str, ...] = ()
    fore: str = ""
    back: str = ""

    @property
    def tone(self) -> str:
        words = [*self.flags]
        if self.fore:
            words.append(self.fore)
        if self.back:
            words += ["on", self.back]
        return _PREFIX + " ".join(words) if words else ""


def is_sgr(tone: str) -> bool:
    return tone.startswith(_PREFIX)


def style_of(tone: str, *, colours: bool = True) -> Style:
    """The style of a tone of this module; without colours only its emphasis."""
    style = Style.parse(tone.removeprefix(_PREFIX))
    return style if colours else style.without_color


def runs(text: str) -> list[Span]:
    """`text`, which is one line, as spans; it may hold anything."""
    if text.isprintable():
        return [Span(text)] if text else []
    if "\r" in text:
        text = text.rstrip("\r").rpartition("\r")[2]
    if "\x1b" not in text and "\x9b" not in text:
        text = clean(text)
        return [Span(text)] if text else []
    spans: list[Span] = []
    state = _State()
    column = 0
    for piece, codes in _pieces(text):
        if "\t" in piece:
            # Tab stops count from the beginning of the line, not of the piece.
            piece = (" " * (column % _TAB) + piece).expandtabs(_TAB)[column % _TAB :]
        shown = clean(piece)
        if shown:
            column += len(shown)
            spans.append(Span(shown, state.tone))
        if codes is not None:
            state = _changed(state, codes)
    return spans


def _pieces(text: str) -> Iterator[tuple[str, str | None]]:
    """Text, and the codes of the SGR escape behind it; None at the end."""
    start = 0
    for match in _SGR.finditer(text):
        yield text[start : match.start()], match[1]
        start = match.end()
    yield text[start:], None


@functools.lru_cache(maxsize=1024)
def _changed(state: _State, codes: str) -> _State:
    numbers = [int(part) if part else 0 for part in re.split("[;:]", codes)]
    at = 0
    while at < len(numbers):
        code = min(numbers[at], 999)
        at += 1
        if code == 0:
            state = _State()
        elif code in _FLAGS:
            if _FLAGS[code] not in state.flags:
                state = state._replace(flags=(*state.flags, _FLAGS[code]))
        elif code in _ENDS:
            state = state._replace(flags=tuple(f for f in state.flags if f not in _ENDS[code]))
        elif 30 <= code <= 37 or 90 <= code <= 97:
            state = state._replace(fore=_colour(code - 30 if code < 90 else code - 82))
        elif 40 <= code <= 47 or 100 <= code <= 107:
            state = state._replace(back=_colour(code - 40 if code < 100 else code - 92))
        elif code in (38, 48):
            colour, at = _extended(numbers, at)
            if colour:
                changed = state._replace(fore=colour), state._replace(back=colour)
                state = changed[code == 48]
        elif code == 39:
            state = state._replace(fore="")
        elif code == 49:
            state = state._replace(back="")
    return state


def _colour(number: int) -> str:
    return f"color({number})"


def _extended(numbers: list[int], at: int) -> tuple[str, int]:
    """The colour behind 38 or 48, "" for none that is known, and where it ends."""
    kind = numbers[at] if at < len(numbers) else -1
    if kind == 5 and at + 1 < len(numbers):
        number = numbers[at + 1]
        return (_colour(number) if number < 256 else ""), at + 2
    if kind == 2 and at + 3 < len(numbers):
        parts = numbers[at + 1 : at + 4]
        valid = all(part < 256 for part in parts)
        return ("#{:02x}{:02x}{:02x}".format(*parts) if valid else ""), at + 4
    return "", len(numbers)
