"""Drawing with ASCII only: the one place where every other character is replaced.

A line filter of Textual, so it sees whatever any widget draws, borders and dialogs as well: our
glyphs become signs of the same width that can still be told apart, all else a question mark per
cell.
"""

from __future__ import annotations

from collections.abc import Mapping

from rich.cells import get_character_cell_size
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

_GLYPHS = {
    # States
    "●": "*", "○": "0", "◌": "o", "◔": "c", "◍": "%", "✔": "v", "✖": "X", "■": "#", "□": "u",
    "✝": "+", "◇": "!", "◆": "!", "↻": "~", "▲": "^", "△": "^", "▼": "v", "▽": "v", "◉": "@",
    "✓": "v", "✗": "X", "×": "x", "⚠": "!", "☠": "X", "★": "*", "☆": "*", "⏸": "=", "⏵": ">",
    # Heights
    "▁": "_", "▂": ".", "▃": ":", "▄": "-", "▅": "=", "▆": "+", "▇": "#", "█": "#",
    "░": ".", "▒": ":", "▓": "#", "▀": "'", "▔": "'", "▌": "|", "▐": "|", "▏": "|", "▎": "|",
    "▍": "|", "▋": "|", "▊": "|", "▉": "|", "▕": "|", "·": ".", "•": "*", "∙": ".", "⋅": ".",
    # Pointers and typography
    "◈": "&",
    "❯": ">", "❮": "<", "▸": ">", "▹": ">", "▾": "v", "▿": "v", "▶": ">", "▷": ">", "◀": "<",
    "►": ">", "◄": "<", "←": "<", "→": ">", "↑": "^", "↓": "v", "↔": "-", "↳": ">", "↵": "<",
    "⏎": "<", "⇥": ">", "⇡": "^", "⇣": "v", "…": "~", "–": "-", "—": "-", "−": "-", "‐": "-",
    "‘": "'", "’": "'", "“": '"', "”": '"', "«": '"', "»": '"', "°": "o", "µ": "u", "±": "+",
    "≤": "<", "≥": ">", "≈": "~", "≠": "!", "∞": "8", "Δ": "D", "σ": "s", "⌈": "[", "⌉": "]",
    "⋮": ":", "⋯": "~", "⇄": "=",
    "\u00a0": " ",
}  # fmt: skip
"""Whatever is not here: lines and corners by their code, braille as a dot, the rest "?"."""

_LOCALE = ("LC_ALL", "LC_CTYPE", "LANG")
"""What says the encoding, the first that is set."""
_REMEMBERED = 4096
_FLAT = "─━┄┅┈┉╌╍═╴╶╸╺╼╾"
_UPRIGHT = "│┃┆┇┊┋╎╏║╵╷╹╻╽╿"


def ascii_of(character: str) -> str:
    """What stands for a character, in as many cells as it takes itself."""
    if character.isascii():
        return character
    known = _GLYPHS.get(character)
    if known is not None:
        return known
    if "\u2500" <= character <= "\u257f":
        return "-" if character in _FLAT else "|" if character in _UPRIGHT else "+"
    if "\u2580" <= character <= "\u259f":
        return "#"
    if "\u2800" <= character <= "\u28ff":
        return " " if character == "\u2800" else "."
    return "?" * get_character_cell_size(character)


class _Table(dict[int, str]):
    """For `str.translate`; it fills itself, up to what ordinary text needs."""

    def __missing__(self, code: int) -> str:
        found = ascii_of(chr(code))
        if len(self) < _REMEMBERED:
            self[code] = found
        return found


_TABLE = _Table()


def to_ascii(text: str) -> str:
    """`text` in ASCII and of the same width."""
    return text if text.isascii() else text.translate(_TABLE)


def suits(environ: Mapping[str, str]) -> bool:
    """Whether the locale says that the terminal shows no UTF-8.

    A locale that is not set says nothing: containers often have none, and terminals show UTF-8.
    """
    named = next((environ[name] for name in _LOCALE if environ.get(name)), "")
    if named in ("C", "POSIX"):
        return True
    _, dot, charset = named.partition(".")
    return bool(dot) and charset.partition("@")[0].lower().replace("-", "") != "utf8"


class AsciiFilter(LineFilter):
    """Applied by Textual to each line that a widget draws."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # noqa: ARG002
        return [
            segment
            if segment.text.isascii()
            else Segment(to_ascii(segment.text), segment.style, segment.control)
            for segment in segments
        ]
